"""Reading of configs: variables given on the command line, checks with a name in every error."""

import argparse
import ast
import difflib
import inspect
import os
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict, DictAction
from mmengine.runner import Runner

from ..datasets.checks import check_annotation_file
from ..datasets.cutoutscenes import LABEL_PERCENTS, prepare_command
from ..errors import ConfigError, DataError

#: Where `hgkd_mm::` looks, in a checkout and in an installed wheel.
OWN_CONFIGS = Path(__file__).parents[1] / '.mim' / 'configs'
_RUNNER_KEYS = {*inspect.signature(Runner.__init__).parameters} - {'self', 'cfg'}


def add_cfg_options(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--cfg-options``, whose value :func:`load_config` takes."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        metavar='KEY=VALUE',
        help='change settings, e.g. width=64 train_cfg.max_epochs=5 data_root=data/other',
    )


def load_config(path: str | os.PathLike, options: dict[str, Any] | None = None) -> Config:
    """Read a config file and apply ``--cfg-options`` to it.

    A top-level variable (``width = 32``) of the file or a local base is replaced *before* the file
    is evaluated, so that everything computed from it follows. All other options are merged
    afterwards, as usual.

    Args:
        path: Config file (``.py``).
        options: Dotted keys with values.

    Raises:
        ConfigError: No such file, it cannot be evaluated, or an option names nothing in it.
    """
    path, options = Path(path), options or {}
    if not path.is_file():
        raise ConfigError(f'config {path} does not exist{_similar_files(path)}')
    try:
        cfg = _evaluate(path, options)
    except Exception as error:  # a config is a program: anything can come out of it
        raise ConfigError(f'config {path} cannot be read: {type(error).__name__}: {error}') from error
    for key in options:
        _check_option(cfg, key, path)
    try:
        cfg.merge_from_dict(options)
    except Exception as error:  # a value of another kind than what its key leads through
        raise ConfigError(
            f'--cfg-options {" ".join(options)}: does not fit into {path} ({type(error).__name__}: {error})'
        ) from error
    return cfg


def _similar_files(path: Path) -> str:
    folder = path.parent if path.parent.is_dir() else Path('configs')
    names = [str(p) for p in folder.glob('*.py' if folder == path.parent else '**/*.py')]
    close = difflib.get_close_matches(str(path), names, n=3)
    return f'; did you mean {" or ".join(close)}?' if close else ''


def _evaluate(path: Path, options: dict[str, Any]) -> Config:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, path.name)
        if not _copy_with_options(path, copy, options):
            return Config.fromfile(path)
        cfg = Config.fromfile(copy)
    object.__setattr__(cfg, '_filename', str(path))
    return cfg


def _copy_with_options(path: Path, copy: Path, options: dict[str, Any]) -> bool:
    """Write a config and its local bases with other values of variables; say if any was there."""
    tree = ast.parse(path.read_text(encoding='utf-8'))
    found = False
    for statement in tree.body:
        if not isinstance(statement, ast.Assign) or not isinstance(statement.targets[0], ast.Name):
            continue
        name = statement.targets[0].id
        if name == '_base_':
            bases = ast.literal_eval(statement.value)
            bases = [bases] if isinstance(bases, str) else list(bases)
            for index, base in enumerate(bases):
                if base.startswith('hgkd_mm::'):
                    # mmengine would give our scope to the other frameworks' classes in it
                    base, found = str(OWN_CONFIGS / base.removeprefix('hgkd_mm::')), True
                if '::' not in base:
                    bases[index] = str(copy.with_name(f'{index}-{copy.name}'))
                    found |= _copy_with_options(path.parent / base, Path(bases[index]), options)
            statement.value = ast.parse(repr(bases), mode='eval').body
        elif name in options and not _is_dict(statement.value):
            statement.value = ast.parse(repr(options[name]), mode='eval').body
            found = True
    copy.write_text(ast.unparse(ast.fix_missing_locations(tree)), encoding='utf-8')
    return found


def _is_dict(node: ast.expr) -> bool:
    return isinstance(node, ast.Dict) or (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict'
    )


def _check_option(cfg: Config, key: str, path: Path) -> None:
    """Refuse an option whose first name, or any dict on its way, the config does not have.

    A new last name under an existing dict is allowed: it is how optional arguments are given.
    """
    *parents, last = key.split('.')
    node: Any = cfg._cfg_dict
    for depth, part in enumerate([*parents, last]):
        known = _names(node) | (_RUNNER_KEYS if depth == 0 else set())
        is_new_argument = part is last and depth > 0 and isinstance(node, dict)
        if part not in known and not is_new_argument:
            close = difflib.get_close_matches(part, known, n=3)
            where = '.'.join(key.split('.')[:depth]) or path.name
            advice = f'did you mean {" or ".join(close)}?' if close else f'it has {_shorten(_names(node))}'
            raise ConfigError(f'--cfg-options {key}: {where} has no {part!r}; {advice}')
        node = _child(node, part)


def _names(node: Any) -> set[str]:
    if isinstance(node, dict):
        return {str(name) for name in node}
    return {str(i) for i in range(len(node))} if isinstance(node, list | tuple) else set()


def _child(node: Any, part: str) -> Any:
    if isinstance(node, dict):
        return node.get(part, {})
    return node[int(part)]


def _shorten(names: Iterable[str], count: int = 8) -> str:
    names = sorted(n for n in names if not n.startswith('_'))
    return ', '.join(names[:count]) + (', ...' if len(names) > count else '') if names else 'no names'


def check_data(cfg: Config, loaders: Iterable[str]) -> None:
    """See that the folders and annotation files of the data sets exist, and that those in COCO's format are sound.

    Args:
        cfg: The config.
        loaders: Top-level keys of the loaders about to be used.

    Raises:
        DataError: One does not; with its key and path and what to do. Or what is wrong in the annotations.
    """
    for loader in loaders:
        dataset = (cfg.get(loader) or {}).get('dataset')
        if dataset is not None:
            _check_dataset(dataset, f'{loader}.dataset')


def _check_dataset(dataset: ConfigDict, key: str) -> None:
    for name in ('dataset', 'datasets'):  # wrappers
        inner = dataset.get(name, [])
        for index, child in enumerate(inner if isinstance(inner, list) else [inner]):
            _check_dataset(child, f'{key}.{name}' + (f'.{index}' if isinstance(inner, list) else ''))
    root = dataset.get('data_root') or ''
    prefix = dataset.get('data_prefix') or {}
    if isinstance(prefix, str):
        prefix = {'img_path': prefix}
    paths = {'data_root': root, 'ann_file': _join(root, dataset.get('ann_file'))}
    paths |= {f'data_prefix.{name}': _join(root, value) for name, value in prefix.items()}
    for name, path in paths.items():
        if path and '://' not in path and not Path(path).exists():
            raise DataError(f'{key}.{name}: {path} does not exist. {_data_advice(path)}')
    if str(dataset.get('type')).rpartition('.')[2] == 'CocoDataset' and Path(paths['ann_file']).is_file():
        check_annotation_file(paths['ann_file'])


def _join(root: str, path: Any) -> str:
    return os.path.join(root, path) if isinstance(path, str) and path else ''


def _data_advice(path: str) -> str:
    share = re.fullmatch(r'train_(.+)percent\.txt', Path(path).name)
    if share:
        root = Path(path).parent.parent
        if command := prepare_command(root.parent):
            shares = ' and '.join(map(str, LABEL_PERCENTS))
            return f'The lists of {shares} % of the labels are written, if missing, by: {command}'
        return f'Write it with: python tools/prepare_data.py imagenet --root {root} --subset {share[1]}'
    if 'cutoutscenes' in path:
        return 'Make the data set with: python tools/prepare_data.py cutoutscenes'
    return 'Put the data set there, or give its folder with --cfg-options data_root=DIR'
