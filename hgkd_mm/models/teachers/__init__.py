"""Frozen teachers."""

from .cnn_teacher import CNNTeacher
from .encoder import RegisterVisionTransformer
from .visibility import visible_tokens
from .vit_teacher import ViTTeacher

__all__ = ['CNNTeacher', 'RegisterVisionTransformer', 'ViTTeacher', 'visible_tokens']
