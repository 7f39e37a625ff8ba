"""The embedded benchmark CutoutScenes: photographed objects in composed scenes, exact labels."""

from .prepare import prepare_cutoutscenes

__all__ = ['prepare_cutoutscenes']
