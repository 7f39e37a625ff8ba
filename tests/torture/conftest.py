"""The stack is imported before anything is forked, so that a child is there at once."""

import mmpretrain.datasets  # noqa: F401
import mmpretrain.engine  # noqa: F401
import mmpretrain.evaluation  # noqa: F401
import mmpretrain.models  # noqa: F401

import hgkd_mm.engine  # noqa: F401
import hgkd_mm.hooks  # noqa: F401
import hgkd_mm.models  # noqa: F401
