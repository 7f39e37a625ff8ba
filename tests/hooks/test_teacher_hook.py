"""What the hook puts into data samples; whole runs are in test_pretraining_run.py."""

from types import SimpleNamespace

import pytest
import torch
from mmpretrain.structures import DataSample

from hgkd_mm.errors import ConfigError
from hgkd_mm.hooks import TeacherHook
from hgkd_mm.hooks import teacher_hook as module
from hgkd_mm.hooks.teacher_hook import views_of_others
from hgkd_mm.models.student import teacher_tokens_of
from hgkd_mm.models.teachers import visible_tokens
from hgkd_mm.models.token_cache import TokenCache

VISIBLE = torch.tensor([[1, 0], [1, 1]]).bool()


def batch(**fields) -> dict:
    images = torch.randint(0, 256, (3, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    samples = [DataSample(metainfo={'view_id': n}) for n in range(3)]
    for sample in samples:
        for name, value in fields.items():
            sample.set_field(value, name)
    return dict(inputs=list(images), data_samples=samples)


def started(teacher, **kwargs) -> TeacherHook:
    hook = TeacherHook(teacher, **kwargs)
    hook.before_train(SimpleNamespace(model=torch.nn.Linear(1, 1)))
    return hook


def test_a_full_target_needs_no_mask_and_is_defined_everywhere(tiny_teacher):
    hook, data = started(tiny_teacher), batch()
    hook.before_train_iter(None, 0, data)
    tokens, defined = teacher_tokens_of(data['inputs'][0], data['data_samples'])
    torch.testing.assert_close(tokens, hook.teacher(torch.stack(data['inputs']))[0])
    assert defined is None


def test_a_visible_target_says_where_it_is_defined(tiny_teacher):
    hook, data = started(dict(tiny_teacher, target='visible')), batch(visible=VISIBLE)
    hook.before_train_iter(None, 0, data)
    tokens, defined = teacher_tokens_of(data['inputs'][0], data['data_samples'])
    assert torch.equal(defined, visible_tokens(VISIBLE[None], (4, 4)).expand(3, -1, -1))
    assert ((tokens != 0).all(1) == defined).all()
    with pytest.raises(ConfigError, match="target='visible' needs the student's mask"):
        hook.before_train_iter(None, 0, batch())


def test_several_targets_come_as_lists(tiny_teacher):
    hook = started([dict(tiny_teacher, layer=[1, 2]), dict(tiny_teacher, target='visible', img_size=64)])
    data = batch(visible=VISIBLE)
    hook.before_train_iter(None, 0, data)
    tokens, defined = teacher_tokens_of(data['inputs'][0], data['data_samples'])
    assert [tuple(part.shape) for part in tokens] == [(3, 24, 4, 4), (3, 24, 4, 4), (3, 24, 8, 8)]
    assert defined[:2] == [None, None] and defined[2].shape == (3, 8, 8)


@pytest.mark.parametrize('processes', [1, 2])
def test_what_a_cache_lacks_is_computed_and_stored_unless_others_may_write(
    tiny_teacher, processes, tmp_path, monkeypatch
):
    monkeypatch.setattr(module, 'get_world_size', lambda: processes)
    hook, data = started(tiny_teacher), batch()
    fresh = hook.teacher(torch.stack(data['inputs']))[0]
    hook.cache = TokenCache(tmp_path, 3, hook.teacher.token_shapes, {})
    hook.cache.write(torch.tensor([1]), [torch.full((1, 24, 4, 4), 7.0)])
    hook.before_train_iter(None, 0, data)
    tokens, _ = teacher_tokens_of(data['inputs'][0], data['data_samples'])
    assert (tokens[1] == 7).all()
    torch.testing.assert_close(tokens[[0, 2]], fresh[[0, 2]], rtol=1e-3, atol=1e-3)
    assert hook.cache.num_written == (3 if processes == 1 else 1)


def test_tokens_in_memory_are_those_of_the_cache_which_is_read_once(tiny_teacher, tmp_path):
    hook, read = started(tiny_teacher, in_memory=True), []
    hook.cache = TokenCache(tmp_path, 3, hook.teacher.token_shapes, {})
    rows = torch.randn(3, 24, 4, 4).half().float()
    hook.cache.write(torch.arange(3), [rows])
    from_cache, hook.cache.read = hook.cache.read, lambda views: read.append(views.tolist()) or from_cache(views)
    for chosen in ([2, 0], [0, 1], [1, 2, 0]):
        data = batch()
        data = {name: [values[n] for n in chosen] for name, values in data.items()}
        hook.before_train_iter(None, 0, data)
        tokens, _ = teacher_tokens_of(data['inputs'][0], data['data_samples'])
        assert torch.equal(tokens, rows[chosen])
    assert read == [[2, 0], [1]]


def test_samples_without_a_view_are_refused(tiny_teacher, tmp_path):
    hook = started(tiny_teacher)
    hook.cache = TokenCache(tmp_path, 3, hook.teacher.token_shapes, {})
    data = dict(inputs=torch.zeros(1, 3, 32, 32), data_samples=[DataSample()])
    with pytest.raises(ConfigError, match="no view_id: add it to PackInputs' meta_keys"):
        hook.before_train_iter(None, 0, data)


@pytest.mark.parametrize('images', [2, 3, 50])
def test_every_view_is_assigned_the_same_view_of_another_image_once(images):
    others = views_of_others(3 * images, 3)
    assert others.sort().values.tolist() == list(range(3 * images))
    views = torch.arange(3 * images)
    assert (others // 3 != views // 3).all() and (others % 3 == views % 3).all()
    assert torch.equal(others, views_of_others(3 * images, 3))


def test_shuffled_targets_are_the_tokens_of_other_images_cached_or_not(tiny_teacher, tmp_path):
    hook, data = started(tiny_teacher), batch()
    images = torch.stack(data['inputs'])
    tokens = hook.teacher(images)[0]
    hook.cache = TokenCache(tmp_path, 3, hook.teacher.token_shapes, {})
    hook.cache.write(torch.tensor([1]), [tokens[[1]]])
    hook.views, hook.others = list(enumerate(images)), torch.tensor([2, 0, 1])
    for _ in range(2):  # the first time two of the three rows are missing
        hook.before_train_iter(None, 0, data)
        shuffled, _ = teacher_tokens_of(data['inputs'][0], data['data_samples'])
        torch.testing.assert_close(shuffled, tokens[[2, 0, 1]], rtol=1e-3, atol=1e-3)
    stored = hook.cache.read(torch.arange(3))[0]
    torch.testing.assert_close(stored, tokens, rtol=1e-3, atol=1e-3)  # the cache itself stays right


def test_shuffling_needs_a_cache_and_other_images(tiny_teacher):
    with pytest.raises(ConfigError, match='shuffle_targets=True takes .* from a cache, found cache_dir=None'):
        started(tiny_teacher, shuffle_targets=True)
    with pytest.raises(ConfigError, match='needs 2 or more training images, found 1'):
        views_of_others(4, 4)
