"""Lets the tests beside import ``teacher_references``, the file references.py."""

import importlib.util
import sys
from pathlib import Path

spec = importlib.util.spec_from_file_location('teacher_references', Path(__file__).with_name('references.py'))
module = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = module
spec.loader.exec_module(module)
