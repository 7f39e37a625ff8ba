"""Export of a trained model's backbone as a plain file which stock code loads."""

import ast
import hashlib
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from ..datasets.mask_schedule import MaskSchedule
from ..errors import WeightsError
from ..leaderboard.facts import pretraining_sha256
from ..utils import atomic_write, sha256_file
from .checkpoint import load_checkpoint_file, seal, state_dict_of
from .normalization import normalization_of_config


def save_backbone(path: str | os.PathLike, weights: Mapping[str, torch.Tensor], meta: dict) -> None:
    """Write ``backbone.pth``: ``{'state_dict': plain keys, 'meta': JSON-able facts}``.

    Args:
        path: File to write, whole or not at all.
        weights: The backbone's state dict, without a prefix.
        meta: What it is (method, backbone config, teacher, epochs...). The code version and the
            SHA-256 of the weights are added.

    Raises:
        WeightsError: ``meta`` holds something other than plain data.
    """
    weights = {key: value.detach().cpu().contiguous() for key, value in weights.items()}
    meta = {**meta, 'code_version': __version__, 'weights_sha256': fingerprint(weights)}
    try:
        # turns mmengine's dict types, which weights_only would refuse, into plain ones
        meta = json.loads(json.dumps(meta))
    except TypeError as error:
        raise WeightsError(f'{path}: meta is not plain data: {error}') from error
    buffer = io.BytesIO()
    torch.save({'state_dict': weights, 'meta': meta}, buffer)
    with atomic_write(path) as temporary:
        temporary.write_bytes(seal(buffer.getvalue()))


def fingerprint(weights: Mapping[str, torch.Tensor]) -> str:
    """Return a SHA-256 over names, types, shapes and values, independent of order and container."""
    digest = hashlib.sha256()
    for key in sorted(weights):
        value = weights[key].detach().cpu().contiguous()
        digest.update(f'{key} {value.dtype} {tuple(value.shape)};'.encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def export_backbone(checkpoint: str | os.PathLike, out: str | os.PathLike) -> dict:
    """Extract the backbone of a model's checkpoint into a file of its own.

    Args:
        checkpoint: Written by mmengine's ``CheckpointHook`` (keys ``backbone.*``).
        out: ``backbone.pth`` to write.

    Returns:
        The ``meta`` written.

    Raises:
        WeightsError: The checkpoint cannot be read or has no backbone.
    """
    loaded = load_checkpoint_file(checkpoint)
    weights = state_dict_of(loaded, checkpoint)
    backbone = backbone_of(weights, checkpoint)
    meta = {
        **describe(loaded.get('meta') or {}),
        'source': {'file': Path(checkpoint).name, 'sha256': sha256_file(checkpoint)},
    }
    save_backbone(out, backbone, meta)
    return meta


def backbone_of(weights: Mapping[str, torch.Tensor], path: str | os.PathLike) -> dict[str, torch.Tensor]:
    """Take the backbone out of a whole model's state dict, with plain keys.

    Raises:
        WeightsError: There is none.
    """
    backbone = {k.removeprefix('backbone.'): v for k, v in weights.items() if k.startswith('backbone.')}
    if not backbone:
        raise WeightsError(
            f"{path} has no key which begins with 'backbone.'; "
            f'it has {", ".join(list(weights)[:3])}. '
            'Expected the checkpoint of a pretrained or downstream model'
        )
    return backbone


def describe(meta: Mapping[str, Any]) -> dict:
    """Collect the facts about a run from its checkpoint's ``meta``, as plain data.

    Args:
        meta: ``checkpoint['meta']`` of mmengine.

    Returns:
        ``method``, ``variant``, ``backbone``, ``teacher``, ``targets_shuffled``, ``mask_ratio`` (over all images and
        the whole training), ``epochs``, ``iterations``, ``seed``, ``experiment``, ``recipe_sha256`` (see
        :func:`~hgkd_mm.leaderboard.facts.pretraining_sha256`), ``normalization`` (see
        :func:`~hgkd_mm.transfer.normalization.normalization_of_config`); None where the checkpoint does not say, or
        nothing is masked.
    """
    config = read_literals(str(meta.get('cfg') or ''))
    model = config.get('model') or {}
    hooks = config.get('custom_hooks') or []
    teachers = [hook['teacher'] for hook in hooks if isinstance(hook, dict) and 'teacher' in hook]
    return {
        'method': model.get('type'),
        'variant': _hook_option(hooks, 'StudentExportHook', 'variant'),
        'backbone': model.get('backbone'),
        'teacher': _one_teacher(teachers[0]) if teachers else None,
        'targets_shuffled': _hook_option(hooks, 'TeacherHook', 'shuffle_targets') or None,
        'mask_ratio': _mask_ratio(config),
        'epochs': meta.get('epoch'),
        'iterations': meta.get('iter'),
        'seed': meta.get('seed'),
        'experiment': meta.get('experiment_name'),
        'recipe_sha256': pretraining_sha256(config) if config else None,
        'normalization': normalization_of_config(config),
    }


def _hook_option(hooks: list, kind: str, option: str) -> Any:
    chosen = [hook for hook in hooks if isinstance(hook, dict) and str(hook.get('type')).rpartition('.')[2] == kind]
    return chosen[0].get(option) if chosen else None


def _one_teacher(teacher: Any) -> Any:
    """Describe several teachers as one; of one, hash its file, which may be elsewhere when the backbone is used."""
    if not isinstance(teacher, list | tuple):
        weights = teacher.get('weights')
        known = teacher.get('sha256') or not weights or not Path(weights).is_file()
        return teacher if known else {**teacher, 'sha256': sha256_file(weights)}
    files = [one.get('weights') and Path(one['weights']).stem for one in teacher]
    kinds = [str(one.get('type')).rpartition('.')[2] for one in teacher]
    names = [one.get('name') or file or kind for one, file, kind in zip(teacher, files, kinds, strict=True)]
    return {'name': ' + '.join(names), 'teachers': list(teacher)}


def _mask_ratio(config: Mapping[str, Any]) -> float | None:
    # It shares the data pipeline of the masked methods and looks at the whole image.
    if str((config.get('model') or {}).get('type')).rpartition('.')[2] == 'DenseDistillation':
        return None
    ratio = _find(config.get('train_dataloader') or {}, 'mask_ratio')
    for hook in config.get('custom_hooks') or []:
        if isinstance(hook, dict) and str(hook.get('type')).endswith('MaskScheduleHook'):
            schedule = MaskSchedule(hook.get('mask_ratio'), hook.get('unmasked_share', 0.0))
            ratio = schedule.mean_ratio(ratio)
    return ratio


def _find(node: Any, key: str) -> Any:
    """Return the first value named ``key`` in nested dicts and lists."""
    if isinstance(node, dict) and key in node:
        return node[key]
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list | tuple) else ()
    return next((found for child in children if (found := _find(child, key)) is not None), None)


def read_literals(text: str) -> dict[str, Any]:
    """Read ``name = literal`` lines of a config's text without executing it.

    The text comes out of a checkpoint, that is from a stranger; ``Config.fromstring`` would run it.

    Args:
        text: ``cfg.pretty_text``: assignments of literals and ``dict(...)`` calls.

    Returns:
        Names with their values; what is not a literal is left out.
    """
    try:
        statements = ast.parse(text).body
    except (SyntaxError, ValueError):
        return {}
    values = {}
    for statement in statements:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            try:
                values[statement.targets[0].id] = _literal(statement.value)
            except ValueError:
                continue
    return values


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict':
        pairs = {} if not node.args else _literal(node.args[0])
        return {**pairs, **{k.arg: _literal(k.value) for k in node.keywords if k.arg}}
    if isinstance(node, ast.Dict):
        return {_literal(k): _literal(v) for k, v in zip(node.keys, node.values, strict=True) if k}
    if isinstance(node, ast.List | ast.Tuple):
        return [_literal(element) for element in node.elts]
    return ast.literal_eval(node)
