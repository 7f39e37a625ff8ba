"""Hooks of mmengine's runner: one file each."""

from .diagnostics_hook import DiagnosticsHook
from .guard_hook import GuardHook
from .knn_bank_hook import KNNBankHook
from .mask_schedule_hook import MaskScheduleHook
from .preemption_hook import PreemptionHook
from .probe_hook import ProbeHook
from .result_hook import ResultHook
from .safe_checkpoint_hook import SafeCheckpointHook
from .skip_unreadable_hook import SkipUnreadableHook
from .student_export_hook import StudentExportHook
from .teacher_hook import TeacherHook

__all__ = [
    'DiagnosticsHook',
    'GuardHook',
    'KNNBankHook',
    'MaskScheduleHook',
    'PreemptionHook',
    'ProbeHook',
    'ResultHook',
    'SafeCheckpointHook',
    'SkipUnreadableHook',
    'StudentExportHook',
    'TeacherHook',
]
