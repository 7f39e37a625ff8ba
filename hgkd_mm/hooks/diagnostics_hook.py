"""Watches on unseen images what the student has learned of its teacher."""

import copy
from typing import Any, NamedTuple

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn

from ..datasets.spaced import evenly_spaced
from ..datasets.transforms import random_patch_mask
from ..engine.network import learned_network
from ..errors import ConfigError
from ..models.heads import TokenDistillationHead, flatten_tokens, resize
from ..models.losses import explained_variance
from ..models.student import MaskedStudent
from ..models.teachers.visibility import visible_tokens
from ..registry import HOOKS
from ..seeding import seeded
from ..sparse import PatchMask
from ..transfer import reestimate_batchnorm
from .representation import effective_rank, linear_cka, nearest_visible
from .teacher_hook import teacher_of


class Batch(NamedTuple):
    """Images as the student gets them, which of their patches it sees, and what the teacher says about them."""

    images: Tensor
    mask: PatchMask | None
    tokens: list[Tensor]
    defined: list[Tensor | None]


@HOOKS.register_module()
class DiagnosticsHook(Hook):
    """Log what the representation of unseen images is like, every ``interval`` epochs and at the end.

    The images and their masks are the same every time. Names begin with ``val/``; with several targets, their number
    is behind the name.

    - ``explained_variance_visible_unseen``, ``..._masked_unseen``: as in training, of images that are not in it;
    - ``explained_variance_visible_nearest``, ``..._masked_nearest``: what the teacher's nearest visible token explains,
      see :func:`~hgkd_mm.hooks.representation.nearest_visible`; the mean token explains 0;
    - ``rank_stage1`` ...: effective rank of each stage of the dense backbone;
    - ``cka_stage1`` ...: likeness of each stage to the teacher's tokens, where these are of the whole image.

    Rank and likeness are over positions of images, all maps averaged to the grid of the last stage; BatchNorm is
    re-estimated on these images first. Without a teacher there is only the rank; without masks, no hidden position.

    Args:
        dataloader: Config of images that are not trained on; evenly spaced ones are taken.
        mask_ratio: Share of hidden patches, in ``[0, 1)``.
        interval: In epochs.
        num_images: At most; the teacher is asked once for each.

    Raises:
        ConfigError: When it is time for the first time: there are fewer than 4 images.
    """

    def __init__(self, dataloader: dict, mask_ratio: float = 0.6, interval: int = 10, num_images: int = 128) -> None:
        self.dataloader = dataloader
        self.mask_ratio = mask_ratio
        self.interval = interval
        self.num_images = num_images
        self.batches: list[Batch] = []

    def after_train_epoch(self, runner: Runner) -> None:
        """Diagnose when it is time."""
        if not (self.every_n_epochs(runner, self.interval) or self.is_last_train_epoch(runner)):
            return
        found = self.diagnose(runner)  # in every process: synchronised layers wait for each other
        if is_main_process():
            for name, value in found.items():
                runner.message_hub.update_scalar(f'val/{name}', value)
                runner.visualizer.add_scalar(f'val/{name}', value, step=runner.epoch + 1)
            listed = ', '.join(f'{name} {value:.3f}' for name, value in found.items())
            runner.logger.info(f'Diagnostics after epoch {runner.epoch + 1}: {listed}')

    @torch.no_grad()
    def diagnose(self, runner: Runner) -> dict[str, float]:
        """Return the figures by name."""
        model = learned_network(runner)
        training = model.training
        model.eval()
        self.batches = self.batches or self._load(runner, model)
        found = {**token_figures(model, self.batches), **stage_figures(model.backbone, self.batches)}
        model.train(training)
        return found

    def _load(self, runner: Runner, model: Any) -> list[Batch]:
        teacher = teacher_of(runner)
        loader = runner.build_dataloader(dict(self.dataloader))
        count = min(self.num_images, len(loader.dataset))
        if count < 4:
            raise ConfigError(f'DiagnosticsHook: the dataloader has {count} images, expected 4 or more')
        chosen = evenly_spaced(len(loader.dataset), count)
        batches = []
        for start in range(0, count, loader.batch_size):
            with seeded(0, start):
                samples = [loader.dataset[index] for index in chosen[start : start + loader.batch_size]]
                batch = loader.collate_fn(samples)
                images = model.data_preprocessor(batch, False)['inputs']
                mask = self._mask(model, images)
            tokens, defined = [], []
            if teacher is not None:
                visible = None if mask is None else mask.visible.cpu()
                tokens = [part.to(images.device) for part in teacher(torch.stack(list(batch['inputs'])), visible)]
                defined = [part if part is None else part.to(images.device) for part in teacher.defined(visible)]
            batches.append(Batch(images, mask, tokens, defined))
        return batches

    def _mask(self, model: Any, images: Tensor) -> PatchMask | None:
        if not isinstance(model, MaskedStudent):
            return None
        rows, columns = (side // model.patch_size for side in images.shape[-2:])
        masks = [torch.from_numpy(random_patch_mask(rows, columns, self.mask_ratio)) for _ in images]
        return PatchMask(torch.stack(masks).to(images.device), model.patch_size)


def token_figures(model: Any, batches: list[Batch]) -> dict[str, float]:
    """Tell how much of the teacher's tokens the student and the nearest visible tokens explain.

    Args:
        model: A student in evaluation mode.
        batches: With the teacher's tokens.

    Returns:
        ``explained_variance_{visible,masked}_{unseen,nearest}``; nothing for a head that predicts no tokens.
    """
    heads = list(getattr(model.head, 'heads', [model.head]))
    if not all(isinstance(head, TokenDistillationHead) for head in heads):
        return {}
    parts: list[list[tuple[Tensor, ...]]] = [[] for _ in heads]
    for images, mask, tokens, defined in batches:
        feats = model.backbone(images) if mask is None else model.sparse_forward(images, mask)
        decoded = model.neck(feats, mask)
        for head, part, target, known in zip(heads, parts, tokens, defined, strict=True):
            part.append(_compare(head, decoded, target, mask, known))
    found = {}
    for number, part in enumerate(parts):
        suffix = f'_{number}' if len(parts) > 1 else ''
        target, prediction, nearest, seen, known = (torch.cat(column) for column in zip(*part, strict=True))
        for name, where in (('visible', seen & known), ('masked', ~seen & known)):
            if where.any():
                for what, guess in (('unseen', prediction), ('nearest', nearest)):
                    value = explained_variance(guess, target, where)
                    found[f'explained_variance_{name}_{what}{suffix}'] = value.item()
    return found


def _compare(
    head: TokenDistillationHead, decoded: Tensor, tokens: Tensor, mask: PatchMask | None, defined: Tensor | None
) -> tuple[Tensor, ...]:
    """Return target, prediction and nearest visible token ``(N, C)``, and which are seen and defined ``(N,)``."""
    batch, _, height, width = tokens.shape
    known = torch.ones(batch, height, width, dtype=torch.bool, device=tokens.device) if defined is None else defined
    seen = torch.ones_like(known) if mask is None else visible_tokens(mask.visible, (height, width))
    target = head.targets(tokens.masked_fill(~known[:, None], 0))
    grid = target.view(batch, height, width, -1).permute(0, 3, 1, 2)
    nearest = flatten_tokens(nearest_visible(grid, seen & known))
    prediction = flatten_tokens(head.predict(decoded, (height, width)))
    return target, prediction, nearest, seen.flatten(), known.flatten()


def stage_figures(backbone: nn.Module, batches: list[Batch]) -> dict[str, float]:
    """Tell the effective rank of each stage of the dense backbone, and its likeness to the teacher's tokens.

    Args:
        backbone: Left as it is; BatchNorm is re-estimated in a copy.
        batches: With or without the teacher's tokens.

    Returns:
        ``rank_stage1`` ..., ``cka_stage1`` ...
    """
    backbone = copy.deepcopy(backbone)
    reestimate_batchnorm(backbone, (batch.images for batch in batches))
    backbone.eval()
    parts = []
    for batch in batches:
        feats = backbone(batch.images)
        parts.append([resize(feat.float(), feats[-1].shape[-2:]) for feat in feats])
    stages = [torch.cat(column) for column in zip(*parts, strict=True)]
    found = {f'rank_stage{i}': effective_rank(flatten_tokens(stage)) for i, stage in enumerate(stages, 1)}
    targets = [torch.cat(column) for column in zip(*(batch.tokens for batch in batches), strict=True)]
    for number, target in enumerate(targets):
        if batches[0].defined[number] is None:
            suffix = f'_{number}' if len(targets) > 1 else ''
            sides = zip(stages[-1].shape[-2:], target.shape[-2:], strict=True)
            grid = tuple(min(pair) for pair in sides)
            rows = flatten_tokens(resize(target.float(), grid))
            for i, stage in enumerate(stages, 1):
                found[f'cka_stage{i}{suffix}'] = linear_cka(flatten_tokens(resize(stage, grid)), rows)
    return found
