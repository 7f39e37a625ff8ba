"""Damaged and made-up inputs: every parser takes them or says by a typed error what is wrong."""

import io
import json
import math
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as hypothesis_seed
from hypothesis import strategies as st
from mmengine.config import Config
from PIL import Image

from ..datasets.checks import check_ade20k, check_coco
from ..datasets.transforms.load_image import LoadImageFromFile
from ..engine.config import check_data, load_config
from ..engine.resume import newest_checkpoint
from ..errors import HGKDError
from ..leaderboard.record import load_record
from ..leaderboard.synthetic import write_synthetic
from ..models.token_cache import TokenCache
from ..sparse import PatchMask
from ..transfer.export import read_literals

_MODES = {
    'JPEG': ('RGB', 'L', 'CMYK'),
    'PNG': ('RGB', 'RGBA', 'P', 'L', 'I;16', '1'),
    'WEBP': ('RGB',),
    'BMP': ('RGB',),
}


def _image(rng: random.Random) -> bytes:
    values = np.frombuffer(rng.randbytes(32 * 24 * 3), np.uint8).reshape(24, 32, 3)
    kind = rng.choice(list(_MODES))
    mode, picture = rng.choice(_MODES[kind]), Image.fromarray(values)
    wide = Image.fromarray(values[..., 0].astype(np.uint16) * 200)
    picture = wide if mode == 'I;16' else picture.convert(mode)
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    return buffer.getvalue()


def _damage(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.randrange(1, 6)):
        match rng.randrange(5):
            case 0:
                changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
            case 1:
                changed = changed[: rng.randrange(len(changed)) + 1]
            case 2:
                position = rng.randrange(len(changed))
                changed[position : position + 4] = rng.randbytes(4)
            case 3:
                position = rng.randrange(len(changed))
                changed[position:position] = changed[: rng.randrange(40)]
            case _:
                position = rng.randrange(len(changed))
                del changed[position : position + rng.randrange(1, 30)]
        if not changed:
            changed = bytearray(b'\0')
    return bytes(changed)


def _coco(folder: Path) -> dict[str, Any]:
    """Write a data set of two splits with two images each in COCO's layout; return the annotations."""
    content: dict[str, Any] = {'categories': [{'id': 1, 'name': 'cat'}, {'id': 2, 'name': 'dog'}]}
    content['images'] = [{'id': i, 'file_name': f'{i}.png', 'width': 32, 'height': 24} for i in range(2)]
    content['annotations'] = [
        {'id': i, 'image_id': i, 'category_id': 1 + i, 'bbox': [1, 2, 10, 8], 'area': 80, 'iscrowd': 0,
         'segmentation': [[[1, 2, 11, 2, 11, 10]], {'size': [24, 32], 'counts': [50, 80, 638]}][i]}
        for i in range(2)
    ]  # fmt: skip
    for split in ('train2017', 'val2017'):
        (folder / split).mkdir(parents=True, exist_ok=True)
        (folder / 'annotations').mkdir(exist_ok=True)
        for i in range(2):
            Image.new('RGB', (32, 24), (i * 90, 60, 30)).save(folder / split / f'{i}.png')
        (folder / 'annotations' / f'instances_{split}.json').write_text(json.dumps(content))
    return content


def _spoil(content: Any, rng: random.Random) -> Any:
    """Change a value somewhere in JSON-able content."""
    content = json.loads(json.dumps(content))
    node: Any = content
    while True:
        key = rng.choice(list(node) if isinstance(node, dict) else range(len(node)))
        if isinstance(node[key], dict | list) and node[key] and rng.random() < 0.8:
            node = node[key]
            continue
        match rng.randrange(4):
            case 0:
                del node[key]
            case 1:
                node[key] = rng.choice([None, -1, 1e308, '', 'x', [], {}, True, '../../etc/passwd', 10**30])
            case 2 if isinstance(node, list):
                node.append(node[key])  # a duplicate
            case _:
                node[key] = [node[key]]
        return content


def _ade(folder: Path) -> None:
    for split in ('training', 'validation'):
        for kind in ('images', 'annotations'):
            (folder / kind / split).mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (32, 24)).save(folder / 'images' / split / '1.png')
        Image.new('L', (32, 24), 1).save(folder / 'annotations' / split / '1.png')


def damage_inputs(folder: Path, count: int, seed: int) -> list[str]:
    """Read damaged images, annotations, label maps and records.

    Args:
        folder: To work in.
        count: How many; half of them are images.
        seed: Of the damages.

    Returns:
        What ended in anything but a result or a typed error.
    """
    rng = random.Random(seed)
    wrong: list[str] = []
    coco = _coco(folder / 'coco')
    _ade(folder / 'ade')
    write_synthetic(folder / 'records', 1)
    record = next((folder / 'records').rglob('result.json'))
    sound_record = record.read_bytes()
    labels = folder / 'ade' / 'annotations' / 'training' / '1.png'
    sound_labels = labels.read_bytes()

    def image() -> None:
        path = folder / 'image'
        path.write_bytes(_damage(_image(rng), rng))
        array = LoadImageFromFile()({'img_path': str(path)})
        assert array is not None and array['img'].dtype == np.uint8 and array['img'].ndim == 3

    def annotations() -> None:
        path = folder / 'coco' / 'annotations' / 'instances_train2017.json'
        path.write_text(json.dumps(_spoil(coco, rng)))
        check_coco(folder / 'coco', own=True, workers=1)

    def label_map() -> None:
        labels.write_bytes(_damage(sound_labels, rng))
        check_ade20k(folder / 'ade', own=3, workers=1)

    def damaged_record() -> None:
        spoilt = json.dumps(_spoil(json.loads(sound_record), rng)).encode()
        record.write_bytes(rng.choice([_damage(sound_record, rng), spoilt]))
        load_record(record)

    others: list[Callable[[], None]] = [annotations, label_map, damaged_record]
    for number in range(count):
        action = image if number % 2 else others[number // 2 % len(others)]
        _expect_typed(action, wrong, f'{number}: {action.__name__}')
    return wrong


def _expect_typed(action: Callable[[], object], wrong: list[str], what: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        try:
            action()
        except HGKDError:
            pass
        except Exception as error:
            wrong.append(f'{what}: {type(error).__name__}: {str(error)[:200]}')


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


def fuzz_parsers(folder: Path, examples: int, seed: int) -> tuple[int, list[str]]:
    """Let hypothesis look for input that makes a parser fail otherwise than by a typed error.

    Args:
        folder: To work in.
        examples: Of each parser.
        seed: Of the search.

    Returns:
        Inputs tried and what failed.
    """
    tried, wrong = 0, []
    config = folder / 'config.py'
    config.write_text("width = 8\nmodel = dict(type='A', channels=[1, 2])\ndata_root = 'data'\nwork_dir = 'w'\n")
    write_synthetic(folder / 'records', 1)
    sound = json.loads(next((folder / 'records').rglob('result.json')).read_text())
    (folder / 'cache').mkdir(exist_ok=True)

    def record(content: Any, key: str, raw: bytes) -> None:
        path = folder / 'result.json'
        for version in (raw, json.dumps(content).encode(), json.dumps({**sound, key: content}).encode()):
            path.write_bytes(version)
            load_record(path)

    def manifest(content: Any, key: str, raw: bytes) -> None:
        path = folder / 'cache' / 'manifest.json'
        for version in (raw, json.dumps(content).encode(), json.dumps({'schema': 2, key: content}).encode()):
            path.write_bytes(version)
            TokenCache(folder / 'cache', 4, [(2, 1, 1)], {'a': 1})

    def mask(shape: list[int], visible: int, kind: torch.dtype, size: int) -> None:
        PatchMask((torch.arange(math.prod(shape)) % 7 < visible).reshape(shape).to(kind), size)

    def option(key: str, value: Any) -> None:
        load_config(config, {key: value})

    def stored_config(text: str) -> None:
        read_literals(text)

    def last_checkpoint(raw: bytes) -> None:
        (folder / 'last_checkpoint').write_bytes(raw)
        newest_checkpoint(folder)

    def data_config(content: Any) -> None:
        check_data(
            Config({'train_dataloader': {'dataset': {'data_root': str(folder), 'ann_file': content}}}),
            ['train_dataloader'],
        )

    keys = st.sampled_from([*sound, 'views', 'shapes', 'rows_per_shard', 'dtype', 'source']) | st.text(max_size=6)
    names = st.sampled_from(['width', 'model.channels', 'model.channels.0', 'model.type', 'data_root', 'model'])
    shapes = st.lists(st.integers(0, 3), max_size=4)
    kinds = st.sampled_from([torch.bool, torch.int64, torch.float32])
    parsers: dict[Callable, tuple] = {
        record: (_JSON, keys, st.binary(max_size=40)),
        manifest: (_JSON, keys, st.binary(max_size=40)),
        mask: (shapes, st.integers(0, 7), kinds, st.integers(-2, 64)),
        option: (names | st.text(max_size=12), _JSON),
        stored_config: (st.text(max_size=60) | st.builds('{} = {!r}'.format, st.sampled_from('ab'), _JSON),),
        last_checkpoint: (st.binary(max_size=30),),
        data_config: (_JSON,),
    }
    for parser, strategies in parsers.items():
        found: list[str] = []

        @hypothesis_seed(seed)
        @settings(
            max_examples=examples,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(st.tuples(*strategies))
        def search(arguments: tuple) -> None:
            nonlocal tried
            tried += 1
            _expect_typed(lambda: parser(*arguments), found, f'{parser.__name__}{arguments!r:.200}')  # noqa: B023

        search()
        wrong += found
    return tried, wrong
