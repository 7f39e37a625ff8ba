"""Whole pretraining steps: H-GKD with a live and with a cached teacher, beside mmpretrain's SparK."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmpretrain.registry import MODELS as PEER_MODELS
from mmpretrain.structures import DataSample
from torch import Tensor

from ..engine.common import fit_to_cpus
from ..engine.config import OWN_CONFIGS, load_config
from ..engine.precision import enable_amp
from ..errors import ConfigError
from ..models.token_cache import TokenCache
from ..registry import MODELS
from ..sparse.zoo import ZOO
from .encoder import PEERS, Setting, random_visible, use_threads
from .rounds import median_seconds

#: The recipes whose steps are timed; the student is the setting's.
HGKD_CONFIG = 'pretraining/hgkd_resnet50_8xb256-amp-coslr-300e_in1k.py'
SPARK_CONFIG = 'mmpretrain::spark/spark_sparse-resnet50_8xb512-amp-coslr-800e_in1k.py'

#: Without weights, for they do not matter to the time.
TEACHER = dict(type='VisionTransformer', arch='base', img_size=224, patch_size=16)
#: The method that is a training as its recipe has it: without a cache.
LIVE = 'H-GKD, ViT-B/16 teacher live'

Step = Callable[[], Tensor]


def measure_step(setting: Setting, rounds: int = 3) -> list[dict]:
    """Time whole training steps, taking turns: data preprocessing, forward, backward and optimizer.

    Images are random and in memory, or on the GPU, so reading data is left out.

    Args:
        setting: Student, batch, size, visible patches, precision, threads and device.
        rounds: Rounds after one to warm up.

    Returns:
        One row a method: ``method``, ``step_ms`` and ``images_per_s``.

    Raises:
        ConfigError: A value of the setting cannot be, or mmpretrain has no sparse form of the model.
    """
    setting.check()
    if setting.model not in PEERS:
        raise ConfigError(f"mmpretrain's SparK has no {setting.model}: choose one of {', '.join(PEERS)}")
    MMLogger.get_current_instance().setLevel('WARNING')  # the optimizer's groups, a line a parameter
    with use_threads(setting.threads), ExitStack() as stack:
        methods = {
            LIVE: stack.enter_context(hgkd_step(setting, is_cached=False)),
            'H-GKD, tokens cached': stack.enter_context(hgkd_step(setting, is_cached=True)),
            "SparK, mmpretrain's": spark_step(setting),
        }
        seconds = median_seconds(methods, rounds)
    return [
        dict(method=name, step_ms=1e3 * seconds[name], images_per_s=setting.batch_size / seconds[name])
        for name in methods
    ]


@contextmanager
def hgkd_step(setting: Setting, is_cached: bool) -> Iterator[Step]:
    """Yield one H-GKD training step on random images that returns its loss.

    Args:
        setting: See :class:`~hgkd_mm.speed.encoder.Setting`.
        is_cached: Read the teacher's tokens from a memory-mapped file instead of computing them.
    """
    cfg = load_config(OWN_CONFIGS / HGKD_CONFIG)
    cfg.model.backbone = dict(ZOO[setting.model], type=f'mmpretrain.{ZOO[setting.model]["type"]}')
    cfg.model.neck.in_channels = stage_channels(setting.model)
    train_step = train_step_of(MODELS.build(cfg.model), cfg, setting.amp, setting.device)
    teacher: Any = MODELS.build(
        dict(
            type='ViTTeacher',
            backbone=TEACHER,
            layer=cfg.teacher_layer,
            amp_dtype='bfloat16' if setting.amp else None,
        )
    ).to(setting.device)
    images, calls, views = _images(setting), iter(range(1 << 30)), torch.arange(setting.batch_size)
    with tempfile.TemporaryDirectory() as folder:
        tokens = teacher(images)
        cache = TokenCache(Path(folder), len(views), [tokens.shape[1:]], source={})
        cache.write(views, [tokens])

        def step() -> Tensor:
            tokens = cache.read(views)[0] if is_cached else teacher(images)
            samples = [
                DataSample(visible=visible, teacher_tokens=token)
                for visible, token in zip(random_visible(setting, next(calls)), tokens, strict=True)
            ]
            return train_step(images, samples)

        yield step


def spark_step(setting: Setting) -> Step:
    """Return one training step of mmpretrain's SparK on random images, with that library's config."""
    cfg = get_config(SPARK_CONFIG)
    cfg.model.backbone = dict(PEERS[setting.model])
    cfg.model.enc_dec_norm_cfg = dict(type='SparseBatchNorm2d')
    cfg.model.enc_dec_norm_dim = stage_channels(setting.model)[-1]
    cfg.model.input_size = setting.img_size
    cfg.model.mask_ratio = 1 - setting.visible / (setting.img_size // 32) ** 2
    # its data sets' configs normalise, by a preprocessor the runner would build
    cfg.model.data_preprocessor = dict(cfg.data_preprocessor)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        train_step = train_step_of(PEER_MODELS.build(cfg.model), cfg, setting.amp, setting.device)
    images = _images(setting)
    return lambda: train_step(images, [DataSample() for _ in images])


def stage_channels(model: str) -> list[int]:
    """Return the channels of a zoo network's stages."""
    network = PEER_MODELS.build(dict(ZOO[model]))
    network.eval()
    with torch.no_grad():
        return [feat.shape[1] for feat in network(torch.zeros(1, 3, 64, 64))]


def train_step_of(
    model: Any, cfg: Config, amp: bool, device: str = 'cpu'
) -> Callable[[Tensor, list[DataSample]], Tensor]:
    """Return a model's whole training step, with the config's optimizer.

    Args:
        model: Its weights are initialised.
        cfg: With ``optim_wrapper``; changed in place.
        amp: bfloat16 autocast.
        device: ``'cpu'`` or ``'cuda'``.

    Returns:
        Function of images ``(B, 3, H, W)`` as the data pipeline packs them, and their data samples, to the loss; it
        returns when the device has done its work.
    """
    model.init_weights()
    model.to(device).train()
    fit_to_cpus(cfg)  # whose optimizer wrapper is the one of float32
    if amp:
        enable_amp(cfg)
        if device == 'cuda':
            cfg.optim_wrapper.dtype = 'bfloat16'
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        wrapper = build_optim_wrapper(model, cfg.optim_wrapper)

    def step(images: Tensor, samples: list[DataSample]) -> Tensor:
        loss = model.train_step(dict(inputs=images, data_samples=samples), wrapper)['loss']
        if device == 'cuda':
            torch.cuda.synchronize()
        return loss

    return step


def _images(setting: Setting) -> Tensor:
    shape = setting.batch_size, 3, setting.img_size, setting.img_size
    images = torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return images.to(setting.device)
