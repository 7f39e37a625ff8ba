"""Writes the student's backbone and the run's record when pretraining ends."""

import copy
import time
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..engine.network import learned_network
from ..errors import ConfigError
from ..leaderboard import facts
from ..leaderboard.curves import pretraining_curves
from ..leaderboard.record import PretrainingRecord, save_record
from ..registry import HOOKS
from ..transfer import reestimate_batchnorm, save_backbone
from ..transfer.export import describe
from .result_hook import config_sha256, read_pretraining

SECONDS_KEY = 'hgkd_seconds'  # our entry in a checkpoint's meta: time spent before it


@HOOKS.register_module()
class StudentExportHook(Hook):
    """Write ``<work_dir>/backbone.pth`` after training: plain keys, loadable by stock mmpretrain, mmdet and mmseg.

    A hidden neighbour contributed nothing while the student saw patches; on whole images it does. BatchNorm's
    statistics are therefore re-estimated on whole training images first (docs/method.md has the measurement).

    Beside it goes ``pretraining.json``, a :class:`~hgkd_mm.leaderboard.record.PretrainingRecord` with the run's cost
    and curves.

    Args:
        filename: Name of the file in the work dir.
        num_batches: Training batches a process for the re-estimation; 0 keeps the statistics of training.
        variant: What is special about the run in a few words, such as ``'half of the images unmasked'``; its records
            say it, and the leaderboard behind the method.

    Raises:
        ConfigError: The variant is no text.
    """

    # After the CheckpointHook: an export that fails must not cost the run.
    priority = 'LOWEST'

    def __init__(self, filename: str = 'backbone.pth', num_batches: int = 20, variant: str | None = None) -> None:
        # Read from the config by `describe`, so that an export from a checkpoint has it too.
        if variant is not None and (not isinstance(variant, str) or not variant.strip()):
            raise ConfigError(f'StudentExportHook: variant={variant!r}: expected a few words without commas, or None')
        self.filename = filename
        self.num_batches = num_batches
        self.clock = 0.0
        self.seconds = 0.0  # before a resume
        self.code: dict[str, Any] = {}

    def before_run(self, runner: Runner) -> None:
        """Note which code this is: what is committed while it runs is not."""
        self.code = facts.code()

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Take over the time that a resumed run has spent."""
        if runner._resume:
            self.seconds = float((checkpoint.get('meta') or {}).get(SECONDS_KEY, 0.0))

    def before_train(self, runner: Runner) -> None:
        """Start the clock."""
        self.clock = time.monotonic()

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Store the time spent."""
        checkpoint['meta'][SECONDS_KEY] = self.seconds + time.monotonic() - self.clock

    def after_train(self, runner: Runner) -> None:
        """Export the backbone; write the record."""
        seconds = self.seconds + time.monotonic() - self.clock
        model = learned_network(runner)
        backbone = copy.deepcopy(model.backbone)
        if self.num_batches:  # in every process: synchronised layers wait for each other
            batches = (
                model.data_preprocessor(batch, True)['inputs']
                for batch in islice(runner.train_dataloader, self.num_batches)
            )
            with torch.no_grad():
                reestimate_batchnorm(backbone, batches)
        if not is_main_process():
            return
        path = Path(runner.work_dir) / self.filename
        meta = describe(
            {
                'cfg': runner.cfg.pretty_text,
                'epoch': runner.epoch,
                'iter': runner.iter,
                'seed': runner.seed,
                'experiment_name': runner.experiment_name,
            }
        )
        statistics = f'{self.num_batches} batches of whole images' if self.num_batches else 'training'
        images = runner.iter * runner.train_dataloader.batch_sampler.batch_size * get_world_size()
        meta = {**meta, 'images': images, 'batchnorm_statistics': statistics}
        save_backbone(path, backbone.state_dict(), meta)
        pretraining = read_pretraining(Config(dict(pretrained=str(path))))
        record = PretrainingRecord.model_validate(
            {
                'backbone': facts.backbone_name(runner.cfg.model.backbone),
                'pretraining': {**(pretraining or {}), 'backbone_file': self.filename},
                'curves': pretraining_curves(runner.work_dir, len(runner.train_dataloader)),
                'cost': facts.cost(seconds, images),
                'code': self.code,
                'config_sha256': config_sha256(runner.cfg),
                'environment': facts.environment(),
                'created': datetime.now(timezone.utc).replace(microsecond=0),
            }
        )
        save_record(record, path.with_name('pretraining.json'))
        runner.logger.info(f'Exported the backbone to {path}')
