"""Cached tokens: filled once, refused when they belong to something else or are damaged."""

import json

import numpy as np
import pytest
import torch

from hgkd_mm.errors import DataError
from hgkd_mm.models.token_cache import TokenCache

SOURCE = {'teachers': [{'sha256': 'a' * 64}], 'dataset': {'images': 3, 'names': 'b' * 64}, 'views': {'seed': 0}}
SHAPES = [(2, 3, 3), (4, 1, 1)]  # 44 bytes a row
SHARD = 100  # two rows


def open_cache(folder, views: int = 6, source: dict = SOURCE, shapes=SHAPES) -> TokenCache:
    return TokenCache(folder, views, shapes, source, shard_bytes=SHARD)


def targets(views: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(views, *shape, generator=generator) for shape in SHAPES]


def test_rows_come_back_as_written_and_survive_a_restart(tmp_path):
    cache = open_cache(tmp_path)
    views = torch.tensor([4, 1])
    assert cache.missing(views).all()
    written = targets(2)
    cache.write(views, written)
    again = open_cache(tmp_path)
    assert again.missing(torch.tensor([1, 2, 4])).tolist() == [False, True, False]
    assert again.num_written == 2
    for stored, part in zip(again.read(views), written, strict=True):
        assert torch.equal(stored, part.half().float())


def test_shards_are_made_as_they_are_needed(tmp_path):
    cache = open_cache(tmp_path, views=5)
    cache.write(torch.tensor([1, 4]), targets(2))
    cache.flush()
    sizes = {path.name: path.stat().st_size for path in tmp_path.glob('*.bin')}
    assert sizes == {'tokens-00000.bin': 88, 'tokens-00002.bin': 44}


def test_two_openers_see_each_other_s_rows(tmp_path):
    one, other = open_cache(tmp_path), open_cache(tmp_path)
    one.write(torch.tensor([0]), targets(1))
    other.write(torch.tensor([1]), targets(1))
    assert not one.missing(torch.tensor([0, 1])).any()
    assert torch.equal(one.read(torch.tensor([1]))[0], other.read(torch.tensor([0]))[0])


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (
            dict(source={**SOURCE, 'teachers': [{'sha256': 'c'}]}),
            r'differs in source.teachers \(found .*aaa.*expected .*"c"',
        ),
        (dict(source={**SOURCE, 'views': {'seed': 1}}), r'differs in source.views.seed \(found 0, expected 1\)'),
        (dict(views=7), r'differs in views \(found 6, expected 7\)'),
        (dict(shapes=[(2, 3, 3)]), 'differs in shapes'),
    ],
)
def test_tokens_of_something_else_are_refused(tmp_path, options, message):
    open_cache(tmp_path)
    with pytest.raises(DataError, match=message):
        open_cache(tmp_path, **options)


def test_the_size_of_shards_is_that_of_the_existing_cache(tmp_path):
    open_cache(tmp_path).write(torch.tensor([3]), targets(1))
    again = TokenCache(tmp_path, 6, SHAPES, SOURCE)
    assert again.rows_per_shard == 2
    assert torch.equal(again.read(torch.tensor([3]))[0], targets(1)[0].half().float())


def test_a_damaged_manifest_is_named(tmp_path):
    open_cache(tmp_path)
    (tmp_path / 'manifest.json').write_text('{')
    with pytest.raises(DataError, match='manifest.json is not JSON'):
        open_cache(tmp_path)


@pytest.mark.parametrize('byte', [0, 43])
def test_a_flipped_bit_is_noticed_and_can_be_written_anew(tmp_path, byte):
    cache = open_cache(tmp_path)
    cache.write(torch.arange(6), targets(6))
    cache.flush()
    content = bytearray((tmp_path / 'tokens-00001.bin').read_bytes())
    content[44 + byte] ^= 1
    (tmp_path / 'tokens-00001.bin').write_bytes(content)
    again = open_cache(tmp_path)
    again.read(torch.tensor([0, 1, 2, 4, 5]))
    with pytest.raises(DataError, match='tokens-00001.bin: row 1 is damaged.*--verify'):
        again.read(torch.tensor([3]))
    assert again.forget_damaged() == ['tokens-00001.bin']
    assert again.missing(torch.arange(6)).nonzero().flatten().tolist() == [3]


def test_a_shard_that_is_cut_or_gone_is_noticed_when_the_cache_is_opened(tmp_path):
    cache = open_cache(tmp_path)
    cache.write(torch.arange(6), targets(6))
    path = tmp_path / 'tokens-00001.bin'
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(DataError, match='tokens-00001.bin has 50 bytes, expected 88'):
        open_cache(tmp_path)
    path.unlink()
    with pytest.raises(DataError, match='tokens-00001.bin is missing'):
        open_cache(tmp_path)


def test_stale_rows_are_refused(tmp_path):
    cache = open_cache(tmp_path)
    views, fresh = torch.tensor([0, 5]), targets(2)
    cache.write(views, fresh)
    cache.check(views, fresh)
    for changed in (fresh[0] + 0.2 * fresh[0].abs().max(), fresh[0] * torch.nan):
        with pytest.raises(DataError, match=r'stale: recomputed tokens of view \[0, 5\]'):
            cache.check(views, [changed, fresh[1]])


def test_values_that_float16_cannot_hold_are_refused(tmp_path):
    cache = open_cache(tmp_path)
    too_large = [part * 1e6 for part in targets(1)]
    with pytest.raises(DataError, match='does not fit in float16'):
        cache.write(torch.tensor([0]), too_large)
    assert cache.num_written == 0


def test_the_manifest_is_readable(tmp_path):
    open_cache(tmp_path)
    assert json.loads((tmp_path / 'manifest.json').read_text()) == {
        'schema': 2,
        'views': 6,
        'shapes': [[2, 3, 3], [4, 1, 1]],
        'dtype': 'float16',
        'rows_per_shard': 2,
        'source': SOURCE,
    }
    assert np.load(tmp_path / 'index.npy').tolist() == [0] * 6
