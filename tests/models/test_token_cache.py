"""Cached tokens: filled once, refused when they belong to something else."""

import json

import numpy as np
import pytest
import torch

from hgkd_mm.errors import DataError
from hgkd_mm.models.token_cache import TokenCache

SOURCE = {'teacher': 'a' * 64, 'images': 'b' * 64}


def test_rows_come_back_as_written_and_survive_a_restart(tmp_path):
    cache = TokenCache(tmp_path, 6, (2, 3, 3), SOURCE)
    views = torch.tensor([4, 1])
    assert cache.missing(views).all()
    tokens = torch.randn(2, 2, 3, 3)
    cache.write(views, tokens)
    again = TokenCache(tmp_path, 6, (2, 3, 3), SOURCE)
    assert again.missing(torch.tensor([1, 2, 4])).tolist() == [False, True, False]
    assert torch.equal(again.read(views), tokens.half().float())


@pytest.mark.parametrize(
    ('views', 'source', 'message'),
    [(6, {**SOURCE, 'teacher': 'c' * 64}, 'differs in: teacher'), (7, SOURCE, 'differs in: shape')],
)
def test_tokens_of_something_else_are_refused(tmp_path, views, source, message):
    TokenCache(tmp_path, 6, (2, 3, 3), SOURCE)
    with pytest.raises(DataError, match=message):
        TokenCache(tmp_path, views, (2, 3, 3), source)


def test_a_damaged_manifest_is_named(tmp_path):
    TokenCache(tmp_path, 6, (2, 3, 3), SOURCE)
    (tmp_path / 'manifest.json').write_text('{')
    with pytest.raises(DataError, match='manifest.json is not JSON'):
        TokenCache(tmp_path, 6, (2, 3, 3), SOURCE)


def test_stale_rows_are_refused(tmp_path):
    cache = TokenCache(tmp_path, 6, (2, 3, 3), SOURCE)
    views, tokens = torch.tensor([0, 5]), torch.randn(2, 2, 3, 3)
    cache.write(views, tokens)
    cache.check(views, tokens)
    with pytest.raises(DataError, match='stale'):
        cache.check(views, tokens + 0.2 * tokens.abs().max())
    cache.tokens[5] = np.nan
    with pytest.raises(DataError, match='stale'):
        cache.check(views, tokens)


def test_the_manifest_is_readable(tmp_path):
    TokenCache(tmp_path, 6, (2, 3, 3), SOURCE)
    assert json.loads((tmp_path / 'manifest.json').read_text()) == {
        'schema': 1,
        'shape': [6, 2, 3, 3],
        'source': SOURCE,
    }
