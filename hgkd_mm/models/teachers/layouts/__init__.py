"""The layouts in which weights of teachers come, and their recognition."""

from .identify import LAYOUTS, Found, identify, identify_file

__all__ = ['LAYOUTS', 'Found', 'identify', 'identify_file']
