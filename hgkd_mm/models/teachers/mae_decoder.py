"""A MAE teacher's own decoder: what it infers for patches that nobody saw."""

from collections.abc import Collection, Mapping
from typing import Any

from mmpretrain.models.necks import MAEPretrainDecoder
from torch import Tensor, nn

from .build import check_keys
from .encoder import Kept
from .positions import resize_positions


def build_decoder(config: Mapping[str, Any], state: dict[str, Tensor], grid: tuple[int, int], source: str) -> nn.Module:
    """Build mmpretrain's ``MAEPretrainDecoder`` for a grid of tokens and load its weights strictly.

    Args:
        config: Its arguments, as :func:`hgkd_mm.models.teachers.layouts.identify` tells them.
        state: Its parameters, but those of the layer that predicts pixels.
        grid: Rows and columns of the teacher's tokens.
        source: Name of the weights in error messages.

    Returns:
        The decoder in eval mode.

    Raises:
        WeightsError: Keys are missing, unexpected or of another shape.
    """
    native = round(config['num_patches'] ** 0.5)
    decoder = MAEPretrainDecoder(**{**config, 'num_patches': grid[0] * grid[1]})
    decoder.decoder_pred = nn.Identity()  # pixels are not asked for
    wanted = {key: tuple(value.shape) for key, value in decoder.state_dict().items()}
    width = config['decoder_embed_dim']
    check_keys(wanted | {'decoder_pos_embed': (1, native**2 + 1, width)}, state, f'{source} (decoder)')
    positions = resize_positions(state['decoder_pos_embed'], (native, native), grid)
    decoder.load_state_dict(state | {'decoder_pos_embed': positions}, strict=True)
    return decoder.eval()


def decode(decoder: Any, latent: Tensor, kept: Kept, layers: Collection[int]) -> list[Tensor]:
    """Return the decoder's hidden features at every place.

    Args:
        decoder: mmpretrain's ``MAEPretrainDecoder``.
        latent: CLS and the visible tokens from the encoder ``(B, 1 + V, C)``, after its final norm.
        kept: Where those are.
        layers: Blocks of the decoder, 1 = the first. After the last its norm is applied.

    Returns:
        ``(B, N, D)`` for each of ``layers``, in rising order.
    """
    embedded = decoder.decoder_embed(latent)
    cls_position, positions = decoder.decoder_pos_embed.split([1, decoder.num_patches], dim=1)
    hidden = decoder.mask_token.to(embedded.dtype).expand(len(latent), decoder.num_patches, -1)
    patches = kept.scatter(embedded[:, 1:], hidden) + positions
    x = nn.functional.pad(patches, (0, 0, 1, 0))
    x[:, :1] = embedded[:, :1] + cls_position
    tokens = []
    for number, block in enumerate(decoder.decoder_blocks, 1):
        x = block(x)
        if number == len(decoder.decoder_blocks):
            x = decoder.decoder_norm(x)
        if number in layers:
            tokens.append(x[:, 1:])
    return tokens
