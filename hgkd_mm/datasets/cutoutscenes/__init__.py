"""The embedded benchmark CutoutScenes: photographed objects in composed scenes, exact labels."""

from .prepare import LABEL_PERCENTS, prepare_command, prepare_cutoutscenes

__all__ = ['LABEL_PERCENTS', 'prepare_command', 'prepare_cutoutscenes']
