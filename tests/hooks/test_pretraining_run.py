"""A whole pretraining run on generated images: teacher, cache, probe, export, resume."""

import json
import shutil

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from hgkd_mm.engine import train
from hgkd_mm.engine.config import load_config
from hgkd_mm.engine.load import load_samples
from hgkd_mm.errors import ConfigError, DataError
from hgkd_mm.hooks.diagnostics_hook import token_figures
from hgkd_mm.transfer import load_checkpoint_file
from hgkd_mm.visualization import draw_tokens
from hgkd_mm.visualization.tokens import unseen_dataset

CONFIG = 'configs/pretraining/hgkd_resnet18_1xb16-coslr-12e_cutoutscenes.py'
CLASSES = (
    'bird', 'coin', 'fish', 'flower', 'fruit', 'household', 'mammal', 'small_creature', 'tool', 'vegetable', 'vehicle',
)  # fmt: skip
TEACHER = dict(
    type='hgkd_mm.ViTTeacher',
    backbone=dict(
        type='mmpretrain.VisionTransformer',
        arch=dict(embed_dims=24, num_layers=2, num_heads=2, feedforward_channels=48),
        img_size=64,
        patch_size=8,
    ),
    layer=2,
    img_size=64,
)


@pytest.fixture(scope='module')
def data_root(tmp_path_factory):
    root = tmp_path_factory.mktemp('scenes')
    rng = np.random.default_rng(0)
    folders = [f'classification/{split}/{name}' for split in ('train', 'val') for name in CLASSES]
    for folder in ['unlabeled'] * 8 + folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
        number = len(list((root / folder).iterdir()))
        coarse = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(np.kron(coarse, np.ones((16, 16, 1), np.uint8))).save(root / folder / f'{number:06d}.png')
    return root


def run(data_root, work_dir, *extra, method='hgkd', cache=True, edit=None, **options):
    settings = dict(data_root=str(data_root), width=8, batch_size=4, max_epochs=2, warmup_epochs=1)
    cfg = load_config(CONFIG.replace('hgkd', method), (settings | options) if method == 'hgkd' else None)
    if method != 'hgkd':  # these inherit the variables' effects, not the variables
        cfg.model.backbone.update(base_channels=8, stem_channels=8)
        cfg.model.neck.in_channels = [8, 16, 32, 64]
        cfg.train_dataloader.update(batch_size=4)
        cfg.train_cfg.max_epochs = 2
    for loader in [cfg.train_dataloader, *(h[k] for h in cfg.custom_hooks for k in h if 'dataloader' in k)]:
        loader.dataset.data_root = str(data_root)
    if method != 'spark':
        cfg.model.head.embed_dims = 24
        cfg.custom_hooks[0].teacher = TEACHER
        cfg.custom_hooks[0].cache_dir = str(work_dir / 'tokens') if cache is True else cache
    if edit:
        edit(cfg)
    work_dir.mkdir(parents=True, exist_ok=True)
    path = work_dir.parent / f'{work_dir.name}.py'
    cfg.dump(path)
    train([str(path), '--work-dir', str(work_dir), *extra])


def scalars(work_dir) -> list[dict]:
    files = sorted(work_dir.glob('*/vis_data/scalars.json'))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def test_run_exports_a_plain_backbone_and_logs_what_matters(data_root, tmp_path):
    run(data_root, tmp_path / 'run')
    exported = load_checkpoint_file(tmp_path / 'run/backbone.pth')
    trained = load_checkpoint_file(tmp_path / 'run/epoch_2.pth')['state_dict']
    own = {k.removeprefix('backbone.'): v for k, v in trained.items() if k.startswith('backbone.')}
    assert exported['state_dict'].keys() == own.keys()
    assert torch.equal(exported['state_dict']['layer4.1.conv2.weight'], own['layer4.1.conv2.weight'])
    # re-estimated on whole images
    assert not torch.equal(exported['state_dict']['bn1.running_mean'], own['bn1.running_mean'])
    assert exported['meta']['method'] == 'HGKD' and exported['meta']['mask_ratio'] == 0.6
    assert not any('teacher' in key for key in trained)
    logged = {key for line in scalars(tmp_path / 'run') for key in line}
    assert {'loss_masked', 'loss_visible', 'loss_distribution', 'explained_variance_masked'} <= logged
    assert 'val/knn_top1' in logged
    record = json.loads((tmp_path / 'run/pretraining.json').read_text())
    for name in ('knn_top1', 'explained_variance_masked_unseen', 'explained_variance_masked_nearest'):
        assert [epoch for epoch, _ in record['curves'][name]] == [2]  # the interval is 5, and the run ends after 2
    for stage, channels in enumerate((8, 16, 32, 64), 1):
        assert 1 <= record['curves'][f'rank_stage{stage}'][0][1] <= channels
        assert -0.2 < record['curves'][f'cka_stage{stage}'][0][1] <= 1
    picture = draw_tokens(tmp_path / 'run.py', tmp_path / 'run', tmp_path / 'tokens.png', indices=[0, 9], unseen=True)
    assert Image.open(picture).size[0] > 400
    cfg = Config.fromfile(tmp_path / 'run.py')
    cfg.train_dataloader.dataset = unseen_dataset(cfg)
    dataset, samples = load_samples(cfg, 'train_dataloader', 3)  # evenly spaced: they are sorted by class
    paths = [sample['data_samples'].img_path for sample in samples]
    last = len(dataset) - 1
    assert paths == [dataset.get_data_info(index)['img_path'] for index in (0, round(last / 2), last)]
    assert all('classification/val' in path for path in paths)


@pytest.mark.parametrize('kind', ['DiagnosticsHook', 'ProbeHook'])
def test_what_only_watches_leaves_the_training_as_it_is(kind, data_root, tmp_path):
    def often(cfg):
        (hook,) = (hook for hook in cfg.custom_hooks if hook.type == kind)
        hook.interval = 1

    def never(cfg):
        cfg.custom_hooks = [hook for hook in cfg.custom_hooks if hook.type != kind]

    weights = []
    for name, edit in (('often', often), ('never', never)):
        run(data_root, tmp_path / name, edit=edit)
        weights.append(load_checkpoint_file(tmp_path / name / 'epoch_2.pth')['state_dict'])
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())


def test_a_resumed_run_continues_at_the_right_iteration(data_root, tmp_path, capsys):
    run(data_root, tmp_path / 'run', max_epochs=1, warmup_epochs=0.5)
    run(data_root, tmp_path / 'run', '--resume', max_epochs=3, warmup_epochs=0.5)
    checkpoint = load_checkpoint_file(tmp_path / 'run/epoch_3.pth')
    assert (checkpoint['meta']['epoch'], checkpoint['meta']['iter']) == (3, 6)
    run(data_root, tmp_path / 'run', '--resume', max_epochs=3, warmup_epochs=0.5)
    assert 'already complete' in capsys.readouterr().out
    # killed between the last checkpoint and the export: only the export is made up for
    (tmp_path / 'run/backbone.pth').unlink()
    run(data_root, tmp_path / 'run', '--resume', max_epochs=3, warmup_epochs=0.5)
    assert (tmp_path / 'run/backbone.pth').is_file()
    # any version of torch reads it, no object is allowed
    assert torch.load(tmp_path / 'run/epoch_3.pth', weights_only=True)['meta']['iter'] == 6


def test_cached_tokens_are_those_of_the_live_teacher(data_root, tmp_path):
    losses = {}
    for name, cache in (('live', None), ('cached', str(tmp_path / 'tokens'))):
        run(data_root, tmp_path / name, '--seed', '3', cache=cache)
        losses[name] = [line['loss'] for line in scalars(tmp_path / name) if 'loss' in line]
    np.testing.assert_allclose(losses['live'], losses['cached'], rtol=2e-3)
    assert np.load(tmp_path / 'tokens/index.npy').all()


def test_a_cache_of_other_images_is_refused(data_root, tmp_path):
    run(data_root, tmp_path / 'run')
    cache, moved = str(tmp_path / 'run/tokens'), tmp_path / 'moved'
    shutil.copytree(data_root, moved)
    run(moved, tmp_path / 'second', cache=cache, max_epochs=1, warmup_epochs=0.5)  # the same images elsewhere
    for path in (moved / 'unlabeled').iterdir():
        Image.new('RGB', (128, 128), 'red').save(path)
    with pytest.raises(DataError, match='is stale: recomputed tokens'):
        run(moved, tmp_path / 'third', cache=cache)
    next((moved / 'unlabeled').iterdir()).rename(moved / 'unlabeled/other.png')
    with pytest.raises(DataError, match='differs in source.dataset.names'):
        run(moved, tmp_path / 'fourth', cache=cache)


def test_a_control_with_shuffled_targets_is_recorded_as_one(data_root, tmp_path):
    options = dict(shuffle_targets=True, variant='a control', probe_interval=1, probe_teacher=True)
    run(data_root, tmp_path / 'run', **options)
    record = json.loads((tmp_path / 'run/pretraining.json').read_text())
    assert record['pretraining']['targets_shuffled'] is True and record['pretraining']['variant'] == 'a control'
    assert [epoch for epoch, _ in record['curves']['knn_top1']] == [1, 2]
    for name in ('teacher_knn_top1', 'teacher_linear_top1'):
        (first, one), (second, same) = record['curves'][name]
        assert (first, second) == (1, 2) and one == same
    run(data_root, tmp_path / 'plain', cache=str(tmp_path / 'run/tokens'))  # the cache is the right one
    losses = [[line['loss'] for line in scalars(tmp_path / name) if 'loss' in line] for name in ('run', 'plain')]
    assert losses[0] != losses[1]
    with pytest.raises(ConfigError, match='variant=0.5: expected a few words'):
        run(data_root, tmp_path / 'unnamed', variant=0.5)


def test_layers_and_masked_targets_of_several_teachers_train_together(data_root, tmp_path):
    def edit(cfg):
        cfg.custom_hooks[0].teacher = [dict(TEACHER, layer=[1, 2]), dict(TEACHER, target='visible', img_size=96)]
        head = dict(cfg.model.head)
        cfg.model.head = dict(type='SeveralTargetsHead', heads=[head] * 3)

    run(data_root, tmp_path / 'run', cache=None, edit=edit, max_epochs=1, warmup_epochs=0.5)
    logged = {key for line in scalars(tmp_path / 'run') for key in line}
    assert {'loss_masked_0', 'loss_masked_1', 'loss_visible_2'} <= logged and 'loss_masked_2' not in logged
    teacher = load_checkpoint_file(tmp_path / 'run/backbone.pth')['meta']['teacher']
    assert (teacher['name'], len(teacher['teachers'])) == ('ViTTeacher + ViTTeacher', 2)


def test_masks_by_a_schedule_with_whole_images_among_them(data_root, tmp_path):
    def edit(cfg):
        cfg.custom_hooks[0].teacher = dict(TEACHER, target='visible', img_size=96)  # so it follows the masks
        cfg.model.head.relation_weight = 1.0

    options = dict(mask_schedule=[(0, 0.25), (1, 0.75)], unmasked_share=0.5)
    run(data_root, tmp_path / 'run', cache=None, edit=edit, max_epochs=1, warmup_epochs=0.5, **options)
    assert load_checkpoint_file(tmp_path / 'run/backbone.pth')['meta']['mask_ratio'] == pytest.approx(0.25)
    assert 'loss_relation' in {key for line in scalars(tmp_path / 'run') for key in line}


def test_a_cache_without_fixed_views_is_refused(data_root, tmp_path):
    def without_views(cfg):
        del cfg.train_dataloader.dataset.pipeline[1]

    with pytest.raises(ConfigError, match='FixedViews'):
        run(data_root, tmp_path / 'run', edit=without_views)


@pytest.mark.parametrize(('method', 'name'), [('spark', 'SparK'), ('dense-distillation', 'DenseDistillation')])
def test_the_baselines_run_in_the_same_framework(method, name, data_root, tmp_path):
    run(data_root, tmp_path / 'run', method=method)
    meta = load_checkpoint_file(tmp_path / 'run/backbone.pth')['meta']
    assert meta['method'] == name
    assert meta['mask_ratio'] == {'SparK': 0.6, 'DenseDistillation': None}[name]
    diagnosed = {key.removeprefix('val/') for line in scalars(tmp_path / 'run') for key in line if 'val/' in key}
    assert 'rank_stage4' in diagnosed
    assert ('cka_stage4' in diagnosed) == ('explained_variance_visible_unseen' in diagnosed) == (method != 'spark')
    assert 'explained_variance_masked_unseen' not in diagnosed


def test_with_an_average_of_the_weights_that_is_probed_and_exported(data_root, tmp_path, monkeypatch):
    probed = []
    monkeypatch.setattr(
        'hgkd_mm.hooks.probe_hook.probe_accuracies',
        lambda backbone, *args, **kwargs: probed.append(backbone.conv1.weight.clone()) or {'knn_top1': 1.0},
    )
    run(data_root, tmp_path / 'run', ema_momentum=0.25)
    saved = load_checkpoint_file(tmp_path / 'run/epoch_2.pth')
    average = saved['state_dict']['backbone.conv1.weight']
    assert not torch.equal(average, saved['ema_state_dict']['module.backbone.conv1.weight'])  # of the last step
    exported = load_checkpoint_file(tmp_path / 'run/backbone.pth')['state_dict']
    assert torch.equal(exported['conv1.weight'], average)
    assert torch.equal(probed[-1], average)


def test_a_resumed_average_is_that_of_a_run_that_never_stopped(data_root, tmp_path):
    def keep_all(cfg):
        cfg.default_hooks.checkpoint.max_keep_ckpts = -1

    folder = tmp_path / 'run'
    run(data_root, folder, ema_momentum=0.25, edit=keep_all)
    exported = load_checkpoint_file(folder / 'backbone.pth')['state_dict']
    for lost, last in (('epoch_2.pth', 'epoch_1.pth'), ('backbone.pth', 'epoch_2.pth')):
        (folder / lost).unlink()
        (folder / 'last_checkpoint').write_text(str(folder / last))
        run(data_root, folder, '--resume', ema_momentum=0.25, edit=keep_all)
        again = load_checkpoint_file(folder / 'backbone.pth')['state_dict']
        assert all(torch.equal(value, again[key]) for key, value in exported.items())


def test_the_averaged_student_is_diagnosed_by_its_own_weights(data_root, tmp_path, monkeypatch):
    """Its sparse engine must not run the layers of the network it was copied from."""
    found = {}

    def spy(model, batches):
        figures = token_figures(model, batches)
        with torch.no_grad():
            for parameter in model.backbone.parameters():
                parameter.zero_()
        found['own'], found['emptied'] = figures, token_figures(model, batches)
        return figures

    monkeypatch.setattr('hgkd_mm.hooks.diagnostics_hook.token_figures', spy)
    run(data_root, tmp_path / 'run', ema_momentum=0.25)
    assert found['own'] != found['emptied']
