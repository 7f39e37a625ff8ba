"""Writes the student's backbone when pretraining ends."""

import copy
from itertools import islice
from pathlib import Path

import torch
from mmengine.dist import get_world_size, master_only
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from ..registry import HOOKS
from ..transfer import reestimate_batchnorm, save_backbone
from ..transfer.export import describe


@HOOKS.register_module()
class StudentExportHook(Hook):
    """Write ``<work_dir>/backbone.pth`` after training: plain keys, loadable by stock mmpretrain, mmdet and mmseg.

    A hidden neighbour contributed nothing while the student saw patches; on whole images it does. BatchNorm's
    statistics are therefore re-estimated on whole training images first (docs/method.md has the measurement).

    Args:
        filename: Name of the file in the work dir.
        num_batches: Training batches for the re-estimation; 0 keeps the statistics of training.
    """

    # After the CheckpointHook: an export that fails must not cost the run.
    priority = 'LOWEST'

    def __init__(self, filename: str = 'backbone.pth', num_batches: int = 20) -> None:
        self.filename = filename
        self.num_batches = num_batches

    @master_only
    def after_train(self, runner: Runner) -> None:
        """Export the backbone."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        backbone = copy.deepcopy(model.backbone)
        if self.num_batches:
            batches = (
                model.data_preprocessor(batch, True)['inputs']
                for batch in islice(runner.train_dataloader, self.num_batches)
            )
            with torch.no_grad():
                reestimate_batchnorm(backbone, batches)
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
        images = runner.iter * runner.train_dataloader.batch_size * get_world_size()
        facts = {**meta, 'images': images, 'batchnorm_statistics': statistics}
        save_backbone(path, backbone.state_dict(), facts)
        runner.logger.info(f'Exported the backbone to {path}')
