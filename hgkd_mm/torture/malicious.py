"""Files made to run code or to write where they must not: none succeeds."""

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..engine.config import load_config
from ..engine.replay import replay
from ..engine.resume import newest_checkpoint
from ..errors import HGKDError
from ..leaderboard.build import build
from ..leaderboard.record import load_record
from ..leaderboard.synthetic import write_synthetic
from ..models.token_cache import TokenCache
from ..transfer import export_backbone, load_checkpoint_file
from ..transfer.checkpoint import AtomicLocalBackend, seal
from ..transfer.export import read_literals


class Bomb:
    """An object whose unpickling makes a file.

    Args:
        path: Of the file.
        how: A function and arguments which make it.
    """

    def __init__(self, path: Path, how: str) -> None:
        self.path, self.how = path, how

    def __reduce__(self) -> tuple:
        calls: dict[str, tuple] = {
            'os.mkdir': (os.mkdir, (str(self.path),)),
            'exec': (exec, (f"import os; os.mkdir('{self.path}')",)),
            'eval': (eval, (f"__import__('os').mkdir('{self.path}')",)),
            'os.system': (os.system, (f"mkdir '{self.path}'",)),
            'getattr': (getattr, (Path(str(self.path)), 'mkdir')),
        }
        return calls[self.how]


def _saved(content: Any, legacy: bool = False, sealed: bool = False) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=not legacy)
    return seal(buffer.getvalue()) if sealed else buffer.getvalue()


def try_malicious_files(folder: Path) -> tuple[int, list[str]]:
    """Hand each file to what reads its kind.

    Args:
        folder: To work in.

    Returns:
        How many files, and which of them did something.
    """
    canary = folder / 'executed'
    weights = {'w': torch.zeros(2)}
    cases: dict[str, Callable[[], object]] = {}

    def checkpoint(name: str, content: Any, read: Callable = load_checkpoint_file, **how: bool) -> None:
        path = folder / f'{name}.pth'
        path.write_bytes(content if isinstance(content, bytes) else _saved(content, **how))
        cases[f'checkpoint: {name}'] = lambda: read(path)

    for call in ('os.mkdir', 'exec', 'eval', 'os.system', 'getattr'):
        checkpoint(call, {'state_dict': weights, 'meta': Bomb(canary, call)})
    checkpoint('old format', {'state_dict': Bomb(canary, 'os.mkdir')}, legacy=True)
    checkpoint('with a sound checksum', {'state_dict': weights, 'optimizer': Bomb(canary, 'exec')}, sealed=True)
    checkpoint('bare pickle', pickle.dumps(Bomb(canary, 'os.system')))
    checkpoint('array of objects', {'state_dict': weights, 'message_hub': np.array([Bomb(canary, 'exec')], object)})
    code = f"import os\nos.mkdir('{canary}')\nmodel = dict(type='HGKD', backbone=dict(type='ResNet'))\n"
    checkpoint(
        'config as text',
        {'state_dict': {'backbone.w': torch.zeros(2)}, 'meta': {'cfg': code, 'config': code}},
        read=lambda path: export_backbone(path, folder / 'exported.pth'),
    )
    checkpoint(
        'step of a guard',
        {
            'state_dict': weights,
            'batch': {'__kind__': 'os.mkdir', 'meta': {}, 'data': {}},
            'meta': dict(reason='', iter=0, seed=0, rank=0, cfg=code),
        },
        read=lambda path: replay(str(folder / 'sound.py'), str(path)),
    )
    (folder / 'sound.py').write_text("model = dict(type='torch.nn.Identity')\n")
    cases['literals: a call'] = lambda: _none_of(read_literals(f"a = __import__('os').mkdir('{canary}')"))

    resumed = folder / 'resumed'
    resumed.mkdir()
    (resumed / 'epoch_1.pth').write_bytes(_saved({'meta': Bomb(canary, 'os.mkdir')}))
    (resumed / 'last_checkpoint').write_text(str(resumed / 'epoch_1.pth'))
    cases['work dir: pickle as last checkpoint'] = lambda: newest_checkpoint(resumed)

    def stored(path: str) -> None:
        AtomicLocalBackend().put(_saved({'meta': Bomb(canary, 'exec')}), folder / path)
        load_checkpoint_file(folder / path)

    cases['checkpoint: through the file backend'] = lambda: stored('backend.pth')

    cache = folder / 'cache'
    TokenCache(cache, 4, [(2, 1, 1)], {'a': 1})
    np.save(cache / 'index.npy', np.array([Bomb(canary, 'os.mkdir')] * 4, object), allow_pickle=True)
    cases['token cache: index of objects'] = lambda: TokenCache(cache, 4, [(2, 1, 1)], {'a': 1})

    tensors = folder / 'weights.safetensors'
    header = json.dumps({'w': {'dtype': 'F32', 'shape': [1 << 40], 'data_offsets': [0, 1 << 42]}}).encode()
    tensors.write_bytes(len(header).to_bytes(8, 'little') + header)
    cases['safetensors: header larger than the file'] = lambda: load_checkpoint_file(tensors)

    option = f"__import__('os').mkdir('{canary}')"
    (folder / 'config.py').write_text('width = 8\nmodel = dict(depth=18)\n')
    cases['option: code as value of a variable'] = lambda: load_config(folder / 'config.py', {'width': option})
    cases['option: code as value of a key'] = lambda: load_config(folder / 'config.py', {'model.depth': option})

    write_synthetic(folder / 'records', 1)
    record = next((folder / 'records').rglob('result.json'))
    content = json.loads(record.read_bytes())
    nested = folder / 'nested.json'
    nested.write_text('[' * 200_000)
    cases['record: nested without end'] = lambda: load_record(nested)
    cases['record: markup in every text'] = lambda: _page(folder, content)
    escaping = folder / 'escaping.pth'
    with zipfile.ZipFile(escaping, 'w') as archive:
        archive.writestr(f'../{canary.name}', 'x')
        archive.writestr('archive/data.pkl', pickle.dumps({}))
        archive.writestr('archive/version', '3')
    cases['archive: path upwards'] = lambda: load_checkpoint_file(escaping)

    wrong = []
    before = {path.name for path in folder.parent.iterdir()}
    for name, read in cases.items():
        try:
            read()
        except (HGKDError, ValueError):
            pass
        except Exception as error:
            wrong.append(f'{name}: {type(error).__name__}: {str(error)[:200]}')
        if canary.exists() or {path.name for path in folder.parent.iterdir()} != before:
            wrong.append(f'{name}: EXECUTED')
            if canary.is_dir():
                canary.rmdir()
    return len(cases), wrong


def _none_of(found: dict) -> None:
    if found:
        raise AssertionError(f'evaluated to {found}')


def _page(folder: Path, content: dict) -> None:
    """Build the leaderboard from a record whose texts are markup; none of it may reach the page as such."""
    from ..utils import sha256_json

    mark = '<script>alert(1)</script>'
    content = {key: value for key, value in content.items() if key != 'content_sha256'}
    content['dataset'] = {**content['dataset'], 'name': mark}
    content['model'] = {**content['model'], 'name': mark, 'backbone': mark}
    content['protocol'] = {**content['protocol'], 'recipe': mark}
    content['environment'] = {mark: mark}
    content['content_sha256'] = sha256_json(content)
    path = folder / 'page' / mark.replace('/', '_') / 'result.json'
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content))
    build([folder / 'page'], folder / 'built')
    pages = list((folder / 'built').rglob('*.html'))
    if not pages or any(mark in page.read_text(encoding='utf-8') for page in pages):
        raise AssertionError('the page holds the markup as it is')
