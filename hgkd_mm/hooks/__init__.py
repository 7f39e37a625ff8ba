"""Hooks of mmengine's runner: one file each."""

from .knn_bank_hook import KNNBankHook
from .probe_hook import ProbeHook
from .result_hook import ResultHook
from .student_export_hook import StudentExportHook
from .teacher_hook import TeacherHook

__all__ = ['KNNBankHook', 'ProbeHook', 'ResultHook', 'StudentExportHook', 'TeacherHook']
