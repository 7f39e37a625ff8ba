"""Hooks of mmengine's runner: one file each."""

from .knn_probe_hook import KNNProbeHook
from .result_hook import ResultHook
from .student_export_hook import StudentExportHook
from .teacher_hook import TeacherHook

__all__ = ['KNNProbeHook', 'ResultHook', 'StudentExportHook', 'TeacherHook']
