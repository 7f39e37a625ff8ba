"""Frozen teachers."""

from .encoder import RegisterVisionTransformer
from .visibility import visible_tokens
from .vit_teacher import ViTTeacher

__all__ = ['RegisterVisionTransformer', 'ViTTeacher', 'visible_tokens']
