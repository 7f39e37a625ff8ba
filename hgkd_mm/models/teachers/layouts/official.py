"""The names of the official MAE, BEiT, CAE, DINO, iBOT, DINOv2, EVA-02 and SimMIM releases, and of timm."""

from .layout import Layout, State, rename


def _to_official(state: State) -> State:
    # DINOv2's training checkpoints number blocks within chunks: blocks.CHUNK.BLOCK
    return rename(state, [(r'blocks\.\d+\.(\d+)\.(.+)', r'blocks.\1.\2')])


OFFICIAL = Layout('official or timm', 'patch_embed.proj.weight', _to_official)
