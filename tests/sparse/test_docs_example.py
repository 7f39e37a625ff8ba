"""The example of docs/sparse.md runs and shows what it says."""

import re
from pathlib import Path

import torch


def test_the_example_gives_stages_that_are_zero_where_hidden():
    code = re.search(r'```python\n(.*?)```', Path('docs/sparse.md').read_text(encoding='utf-8'), re.DOTALL)[1]
    names: dict = {}
    exec(code, names)  # our own page
    for stage, whole in zip(names['stages'], names['whole'], strict=True):
        assert stage.shape == whole.shape
        hidden = ~names['PatchMask'](names['visible'], 32).grid(*stage.shape[-2:])
        assert not stage.masked_select(hidden).any()
        assert torch.isfinite(whole).all()
