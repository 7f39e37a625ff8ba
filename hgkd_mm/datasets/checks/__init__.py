"""Checks of data sets people already have: what is missing or wrong, said exactly, and nothing moved."""

from .ade20k import check_ade20k
from .coco import check_coco
from .coco_annotations import check_annotation_file
from .imagenet import check_imagenet, subset_path, write_subset

__all__ = ['check_ade20k', 'check_annotation_file', 'check_coco', 'check_imagenet', 'subset_path', 'write_subset']
