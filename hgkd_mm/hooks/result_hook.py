"""Write the result record of a training or test run."""

import copy
import json
import math
import os
import re
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, get_args

import torch
from mmengine.analysis import FlopAnalyzer
from mmengine.config import Config
from mmengine.dist import get_world_size, master_only
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner, find_latest_checkpoint
from pydantic import ValidationError
from torch import nn

from ..engine.network import network_of
from ..errors import ConfigError, RecordError
from ..leaderboard import facts
from ..leaderboard.record import Dataset, Protocol, Record, Task, explain, save_record
from ..registry import HOOKS
from ..transfer.checkpoint import load_checkpoint_file
from ..utils import atomic_write, sha256_file, sha256_json
from .predictions import FILE as PREDICTIONS_FILE
from .predictions import PredictionCollector

# Evaluator's metric -> ours and the factor that makes it percent.
SOURCES = {
    'classification': {'accuracy/top1': ('top1', 1), 'accuracy/top5': ('top5', 1)},
    'detection': {
        'coco/bbox_mAP': ('box_AP', 100),
        'coco/bbox_mAP_50': ('box_AP50', 100),
        'coco/bbox_mAP_75': ('box_AP75', 100),
        'coco/segm_mAP': ('mask_AP', 100),
        'coco/segm_mAP_50': ('mask_AP50', 100),
        'coco/segm_mAP_75': ('mask_AP75', 100),
    },
    'segmentation': {'mIoU': ('mIoU', 1), 'mAcc': ('mAcc', 1), 'aAcc': ('aAcc', 1)},
}
MODEL_NAMES = {'ImageClassifier': 'classifier', 'MaskRCNN': 'Mask R-CNN', 'UPerHead': 'UperNet'}
META_KEY = 'hgkd_result'  # our entry in a checkpoint's meta
# Where a run writes and how it was started do not change what it computes.
NOT_HASHED = ('work_dir', 'resume', 'load_from', 'launcher', 'filename')


@HOOKS.register_module()
class ResultHook(Hook):
    """Collect the metrics of every validation and write ``<work_dir>/result.json`` at the end.

    The record is written when training has finished its last epoch, with the metrics of that epoch
    (never of the best one), or after a test run. The learning curve is kept in
    ``<work_dir>/curve.json`` and goes on when training is resumed. Where the backbone's weights
    come from is read from the ``meta`` of the file they were loaded from, and goes into every
    checkpoint, so that a later test run knows it too. What a classifier said about every image goes into
    ``<work_dir>/predictions.csv``.

    Example::

        custom_hooks = [
            dict(
                type='hgkd_mm.ResultHook',
                task='classification',
                dataset=dict(name='cutoutscenes'),
                protocol=dict(recipe='fine-tune all layers', resolution=128),
            )
        ]

    Args:
        task: ``'classification'``, ``'detection'`` or ``'segmentation'``.
        dataset: Name, or fields of :class:`~hgkd_mm.leaderboard.record.Dataset`. What the
            ``manifest.json`` in the validation data's folder (or one above it) says comes first.
        protocol: Fields of :class:`~hgkd_mm.leaderboard.record.Protocol`; ``recipe`` and
            ``resolution`` are needed; epochs, iterations, batch size, optimizer and learning rate
            are read from the config when left out.
        chance: Chance level of the primary metric, percent. None: 100 / classes for classification,
            else not stated.

    Raises:
        ConfigError: Unknown task or field.
    """

    # After the hooks that change the evaluated weights (EMA), before CheckpointHook.
    priority = 'LOW'

    def __init__(
        self,
        task: str,
        dataset: str | Mapping[str, Any],
        protocol: Mapping[str, Any],
        chance: float | None = None,
    ) -> None:
        if task not in get_args(Task):
            raise ConfigError(f'ResultHook: task={task!r}, expected one of {list(get_args(Task))}')
        self.task = task
        self.dataset = {'name': dataset} if isinstance(dataset, str) else dict(dataset)
        self.protocol = dict(protocol)
        self.chance = chance
        for option, fields, known, needed in (
            ('dataset', self.dataset, Dataset.model_fields, {'name'}),
            ('protocol', self.protocol, Protocol.model_fields, {'recipe', 'resolution'}),
        ):
            unknown, missing = set(fields) - set(known), needed - set(fields)
            if unknown or missing:
                raise ConfigError(
                    f'ResultHook: {option} has unknown keys {sorted(unknown)} and lacks '
                    f'{sorted(missing)}; it may have {list(known)}'
                )
        self.curve: list[dict[str, Any]] = []
        self.provenance: dict[str, Any] | None = None  # what goes into checkpoints
        self.training = False
        self.clock = 0.0
        self.predictions = PredictionCollector()
        self.code: dict[str, Any] = {}

    def before_run(self, runner: Runner) -> None:
        """Note which code this is: what is committed while it runs is not."""
        self.code = facts.code()

    # -- every evaluation -------------------------------------------------------------------------

    def before_val_epoch(self, runner: Runner) -> None:
        """Forget what was said in an earlier evaluation."""
        self.predictions = PredictionCollector()

    before_test_epoch = before_val_epoch

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Remember what a classifier says about every image."""
        if self.task == 'classification':
            self.predictions.add(outputs)

    after_test_iter = after_val_iter

    def _save_predictions(self, runner: Runner, dataset: Any) -> None:
        self.predictions.write(Path(runner.work_dir) / PREDICTIONS_FILE, getattr(dataset, 'data_root', None))

    # -- training ---------------------------------------------------------------------------------

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Take over what a resumed checkpoint knows about its own beginnings."""
        if runner._resume:
            self.provenance = (checkpoint.get('meta') or {}).get(META_KEY)

    def before_train(self, runner: Runner) -> None:
        """Start the clock and take up the curve of a resumed run."""
        self.training = True
        if self.provenance is None:
            self.provenance = {
                'pretraining': _foreign(runner) or read_pretraining(runner.cfg),
                **_hashes(runner.cfg),
                'seed': runner.seed,
            }
        resumed = runner.iter > 0
        self.curve = _read_curve(Path(runner.work_dir), _epochs_done(runner)) if resumed else []
        self.clock = time.monotonic() - (self.curve[-1]['wall_time_s'] if self.curve else 0.0)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Store where the first weights came from."""
        if self.provenance is not None:
            epochs = round(checkpoint['meta']['iter'] / len(runner.train_dataloader), 4)
            checkpoint['meta'][META_KEY] = {**self.provenance, 'epochs': epochs}

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Add a point to the learning curve."""
        if not self.training:
            return
        epoch = _epochs_done(runner)
        self.curve = [point for point in self.curve if point['epoch'] < epoch]
        point = {
            'epoch': epoch,
            'metrics': self._percent(metrics or {}),
            'loss': _mean_loss(runner, self.curve[-1]['epoch'] if self.curve else 0.0),
            'wall_time_s': round(time.monotonic() - self.clock, 3),
        }
        self.curve.append(point)
        self._save_predictions(runner, runner.val_loop.dataloader.dataset)  # so those of the curve's last point
        _write_curve(runner, self.curve)

    def after_train(self, runner: Runner) -> None:
        """Write the record, if the training is complete."""
        loop = runner.train_loop
        if runner.iter < loop.max_iters:
            print_log('training stopped early: no result.json', logger='current')
        elif runner.val_loop is not None:
            if not self.curve or self.curve[-1]['epoch'] < _epochs_done(runner):
                # The validation interval left the last epoch out, or a run was stopped within it.
                runner.val_loop.run()
            checkpoint = _last_checkpoint(runner)
            self._write(runner, self.curve[-1]['metrics'], self.curve[-1]['wall_time_s'], checkpoint)
        self.training = False

    # -- test -------------------------------------------------------------------------------------

    def before_test(self, runner: Runner) -> None:
        """Start the clock; learn from the checkpoint where its weights came from."""
        self.clock = time.monotonic()
        if runner.cfg.get('train_cfg') is None and runner.cfg.get('pretrained'):  # only its backbone is evaluated
            self.provenance = {
                'pretraining': read_pretraining(runner.cfg),
                'config_sha256': config_sha256(runner.cfg),
                'seed': runner.seed,
            }
        if self.provenance is None and runner._load_from:
            meta = load_checkpoint_file(runner._load_from).get('meta') or {}
            self.provenance = meta.get(META_KEY)
            if self.provenance is not None:
                folder = Path(runner._load_from).parent
                self.curve = _read_curve(folder, self.provenance['epochs'])

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Write the record of a test run."""
        seconds = time.monotonic() - self.clock
        if self.curve:  # the training's time is what matters of the two
            seconds = self.curve[-1]['wall_time_s']
        checkpoint = Path(runner._load_from) if runner._load_from else None
        self._save_predictions(runner, runner.test_loop.dataloader.dataset)
        self._write(runner, self._percent(metrics or {}), seconds, checkpoint)

    # -- the record -------------------------------------------------------------------------------

    def _percent(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Translate an evaluator's metrics; COCO's -1 (nothing to evaluate) is left out."""
        if not metrics and self.task == 'detection':
            # What mmdet's CocoMetric returns when no object at all was detected.
            return {name: 0.0 for name, _ in SOURCES['detection'].values()}
        found = {
            name: round(float(metrics[source]) * factor, 4)
            for source, (name, factor) in SOURCES[self.task].items()
            if source in metrics and float(metrics[source]) >= 0
        }
        primary = next(iter(SOURCES[self.task]))
        if primary not in metrics:
            raise RecordError(
                f'ResultHook: the evaluation gave {sorted(metrics)}, but {self.task} needs '
                f'{primary!r}; set val_evaluator/test_evaluator accordingly'
            )
        return found

    @master_only
    def _write(self, runner: Runner, metrics: dict[str, float], seconds: float, checkpoint: Path | None) -> None:
        path = Path(runner.work_dir) / 'result.json'
        # A checkpoint that no ResultHook watched over: saying "from scratch" would be a guess.
        provenance = {**_hashes(runner.cfg), **(self.provenance or {'pretraining': {'method': 'unknown'}})}
        manifest = _read_manifest(runner.cfg)
        dataset = {**self.dataset, **dataset_facts(runner.cfg)}  # the data itself knows best
        protocol = {**_protocol_facts(runner.cfg), 'sha256': provenance['protocol_sha256'], **self.protocol}
        if provenance.get('epochs') and not runner.iter:
            protocol['epochs'] = provenance['epochs']  # of the tested checkpoint, not of the plan
        elif runner.iter:
            protocol.setdefault('epochs', _epochs_done(runner))
        chance = self.chance
        if chance is None and self.task == 'classification' and manifest.get('classes'):
            chance = round(100 / len(manifest['classes']), 4)
        images, epochs = dataset.get('num_train'), protocol.get('epochs')
        seen = round(images * epochs) if images and epochs else None
        fields = {
            'task': self.task,
            'dataset': dataset,
            'metrics': metrics,
            'chance': chance,
            'protocol': protocol,
            'budget': {'finetuning_images': seen},
            'pretraining': _beside(provenance['pretraining'], path.parent),
            'model': {**_describe_model(runner, protocol.get('resolution')), 'sha256': provenance['model_sha256']},
            'curve': [{k: p.get(k) for k in ('epoch', 'metrics', 'loss')} for p in self.curve],
            'cost': facts.cost(seconds, seen if self.curve else None),
            'code': self.code,
            'checkpoint': checkpoint and _file(checkpoint, path.parent),
            'predictions': _file(path.with_name(PREDICTIONS_FILE), path.parent)
            if self.task == 'classification'
            else None,
            'config_file': _config_file(runner),
            'config_sha256': provenance['config_sha256'],
            'seed': provenance.get('seed', runner.seed),
            'environment': facts.environment(),
            'created': datetime.now(timezone.utc).replace(microsecond=0),
        }
        try:
            record = Record.model_validate(fields)
        except ValidationError as error:
            raise RecordError(f'{path}: not written: {explain(error)}') from None
        save_record(record, path)
        print_log(f'result: {path}: {metrics}', logger='current')


def read_pretraining(cfg: Config) -> dict[str, Any] | None:
    """Tell where the backbone's first weights come from.

    Args:
        cfg: Its ``pretrained``, or else ``model.backbone.init_cfg.checkpoint``, names the file.

    Returns:
        Fields of :class:`~hgkd_mm.leaderboard.record.Pretraining`; None for from scratch.
    """
    source = cfg.get('pretrained')
    if source is None:
        init = ((cfg.get('model') or {}).get('backbone') or {}).get('init_cfg') or {}
        # A list of initializers holds at most one that reads a file.
        options = init if isinstance(init, list) else [init]
        source = next((o['checkpoint'] for o in options if o and o.get('checkpoint')), None)
    if source is None:
        return None
    path = Path(source).expanduser()
    if not path.is_file():
        return {'method': source}  # torchvision://resnet50, open-mmlab://...
    meta = load_checkpoint_file(path).get('meta') or {}
    teacher = meta.get('teacher') or {}
    if isinstance(teacher, str):
        teacher = {'name': teacher}
    weights = teacher.get('weights')
    sha256 = teacher.get('sha256')
    if sha256 is None and weights and Path(weights).is_file():
        sha256 = sha256_file(weights)
    return {
        'method': str(meta.get('method') or 'unknown').rpartition('.')[2],
        'variant': meta.get('variant'),
        'teacher': teacher.get('name') or (Path(weights).stem if weights else teacher.get('type')),
        'teacher_sha256': sha256,
        'teacher_layer': layer if isinstance(layer := teacher.get('layer'), int) else None,  # of several none
        'targets_shuffled': meta.get('targets_shuffled'),
        'epochs': meta.get('epochs'),
        'mask_ratio': meta.get('mask_ratio'),
        'images': meta.get('images'),
        'seed': meta.get('seed'),
        'recipe_sha256': meta.get('recipe_sha256'),
        'backbone_file': str(path),
        'backbone_sha256': sha256_file(path),
    }


def config_sha256(cfg: Config) -> str:
    """Hash a config without the options that only say where and how the run is started."""
    content = {key: value for key, value in cfg.to_dict().items() if key not in NOT_HASHED}
    return sha256_json(content)


def _hashes(cfg: Config) -> dict[str, str]:
    content = cfg.to_dict()
    return {
        'config_sha256': config_sha256(cfg),
        'protocol_sha256': facts.protocol_sha256(content),
        'model_sha256': facts.model_sha256(content),
    }


def _relative(path: str | os.PathLike, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()


def _file(path: Path, folder: Path) -> dict[str, str] | None:
    """Name a file as seen from the record's folder, with its hash; None when there is none."""
    return {'file': _relative(path, folder), 'sha256': sha256_file(path)} if path.is_file() else None


def _beside(pretraining: dict[str, Any] | None, folder: Path) -> dict[str, Any] | None:
    """Name the backbone's file as seen from the record: absolute places differ between machines."""
    file = (pretraining or {}).get('backbone_file')
    return {**pretraining, 'backbone_file': _relative(file, folder)} if pretraining and file else pretraining


def _config_file(runner: Runner) -> str | None:
    """Name the whole config that the runner has written into its work dir."""
    name = Path(runner.cfg.filename).name if runner.cfg.filename else f'{runner.timestamp}.py'
    return name if (Path(runner.work_dir) / name).is_file() else None


def _last_checkpoint(runner: Runner) -> Path | None:
    """Find the checkpoint of the evaluated weights; None when the last epoch's was not saved."""
    latest = find_latest_checkpoint(runner.work_dir)
    names = (f'epoch_{runner.epoch}', f'iter_{runner.iter}')
    return Path(latest) if latest and Path(latest).stem in names and Path(latest).is_file() else None


def _mean_loss(runner: Runner, since: float) -> float | None:
    """Average the training loss since an epoch; None when it is not a finite number."""
    history = runner.message_hub.log_scalars.get('train/loss')
    iterations = runner.iter - round(since * len(runner.train_dataloader))
    if history is None or iterations <= 0:
        return None
    loss = float(history.mean(iterations))
    return round(loss, 6) if math.isfinite(loss) else None


def _foreign(runner: Runner) -> dict[str, Any] | None:
    """Tell of a whole-model checkpoint that training starts from (``load_from`` without resume)."""
    if not runner._load_from or runner._resume:
        return None
    path = Path(runner._load_from)
    found = {'method': f'checkpoint {path.name}'}
    return {**found, 'backbone_sha256': sha256_file(path)} if path.is_file() else found


def _epochs_done(runner: Runner) -> float:
    """Count the epochs trained; iteration-based training has fractions of them."""
    batches = len(runner.train_dataloader)
    return round(runner.iter / batches, 4) if batches else float(runner.epoch)


def _read_curve(folder: Path, until: float) -> list[dict[str, Any]]:
    """Read a run's curve up to the epoch of the checkpoint which is resumed or tested."""
    path = folder / 'curve.json'
    if not path.is_file():
        return []
    try:
        return [point for point in json.loads(path.read_text(encoding='utf-8')) if point['epoch'] <= until]
    except (ValueError, KeyError, TypeError):
        raise RecordError(f'{path}: not a learning curve; remove it and resume, or train again') from None


@master_only
def _write_curve(runner: Runner, curve: list[dict[str, Any]]) -> None:
    with atomic_write(Path(runner.work_dir) / 'curve.json') as temporary:
        temporary.write_text(json.dumps(curve, indent=1) + '\n', encoding='utf-8')


def _innermost(dataset: Any) -> Mapping[str, Any]:
    """Unwrap RepeatDataset and the like."""
    while isinstance(dataset, Mapping) and 'dataset' in dataset:
        dataset = dataset['dataset']
    return dataset if isinstance(dataset, Mapping) else {}


def _read_manifest(cfg: Config) -> dict[str, Any]:
    """Read the manifest.json of the evaluated data; empty when the data has none."""
    loader = cfg.get('val_dataloader') or cfg.get('test_dataloader') or {}
    root = _innermost(loader.get('dataset') or {}).get('data_root')
    if not root:
        return {}
    for folder in [Path(root), *list(Path(root).parents)[:3]]:
        path = folder / 'manifest.json'
        if path.is_file():
            try:
                return dict(json.loads(path.read_text(encoding='utf-8')))
            except (ValueError, TypeError) as error:
                raise RecordError(f'{path}: not a data set manifest: {error}') from None
    return {}


def _train_list(cfg: Config) -> Path | None:
    """Find the text file that lists the training images, one a line, where the data set reads such a file."""
    dataset = _innermost((cfg.get('train_dataloader') or {}).get('dataset') or {})
    path = Path(dataset.get('data_root') or '', dataset.get('ann_file') or '')
    return path if path.suffix == '.txt' and path.is_file() else None


def dataset_facts(cfg: Config) -> dict[str, Any]:
    """Read what the ``manifest.json`` of the evaluated data says of it.

    A list of training images, such as 1 % of the labels, says itself how many it has.

    Args:
        cfg: With ``data_root`` in its loaders.

    Returns:
        Those fields of :class:`~hgkd_mm.leaderboard.record.Dataset` that are known.

    Raises:
        RecordError: The manifest is none.
    """
    manifest, train_list = _read_manifest(cfg), _train_list(cfg)
    splits = manifest.get('splits') or {}
    # The unlabelled images are left out: fine-tuning does not see them.
    used = {name: splits[name] for name in ('train', 'val') if name in splits}
    # Data sets made before all manifests had the same key count `scenes`.
    counts = {name: split.get('images', split.get('scenes')) for name, split in used.items()}
    contents = {name: split.get('sha256') for name, split in used.items()}
    if train_list is not None:
        counts['train'] = sum(bool(line.strip()) for line in train_list.read_text(encoding='utf-8').splitlines())
        contents['train_list'] = sha256_file(train_list)
    found = {
        'version': str(manifest['version']) if 'version' in manifest else None,
        'fold': manifest.get('fold'),
        'sha256': sha256_json(contents) if used else None,
        'num_train': counts.get('train'),
        'num_val': counts.get('val'),
    }
    return {key: value for key, value in found.items() if value is not None}


def _protocol_facts(cfg: Config) -> dict[str, Any]:
    """Read from the config what the protocol needs and a person need not repeat."""
    loop = cfg.get('train_cfg') or {}
    wrapper = cfg.get('optim_wrapper') or {}
    optimizer = wrapper.get('optimizer') or {}
    batch_size = (cfg.get('train_dataloader') or {}).get('batch_size')
    found = {
        'epochs': loop.get('max_epochs'),
        'iterations': loop.get('max_iters'),
        'batch_size': batch_size and batch_size * get_world_size(),
        'optimizer': optimizer.get('type'),
        'lr': optimizer.get('lr'),
        # AmpOptimWrapper or our AutocastOptimWrapper
        'precision': 'mixed' if re.search('Amp|Autocast', str(wrapper.get('type'))) else None,
    }
    return {key: value for key, value in found.items() if value is not None}


def _describe_model(runner: Runner, resolution: int | str | None) -> dict[str, Any]:
    model = network_of(runner)
    backbone = (runner.cfg.get('model') or {}).get('backbone') or {}
    kind = type(model).__name__
    if kind == 'EncoderDecoder':  # mmseg has one class for all; the head tells them apart
        kind = type(model.decode_head).__name__
    return {
        'name': MODEL_NAMES.get(kind, kind),
        'backbone': facts.backbone_name(backbone or {'type': type(model).__name__}),
        'params': sum(p.numel() for p in model.parameters()),
        'backbone_params': sum(p.numel() for p in model.backbone.parameters()),
        'backbone_gmacs': backbone_gmacs(model.backbone, resolution) if isinstance(resolution, int) else None,
    }


def backbone_gmacs(backbone: nn.Module, side: int) -> float:
    """Count a backbone's multiply-accumulates for one square image of ``side`` pixels, in 1e9."""
    backbone = copy.deepcopy(backbone).cpu()
    backbone.eval()  # returns None in OpenMMLab
    analyzer = FlopAnalyzer(backbone, torch.zeros(1, 3, side, side))
    analyzer.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    return round(analyzer.total() / 1e9, 4)
