"""Freed memory that is kept costs no page faults when it is asked for again."""

import ctypes
import platform
import subprocess
import sys

import pytest

from hgkd_mm.speed import heap

#: Page faults of 20 blocks of 64 MiB, 16384 pages each, one after the other. As many are freed before them, for a few
#: pass until the heap has a place that nothing small lies in.
FAULTS = """
import resource
import torch
from hgkd_mm.speed.heap import keep_freed_memory
{first}
faults = []
for _ in range(40):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(1 << 24)
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(sum(faults[20:]))
"""


def faults_after(first: str) -> int:
    done = subprocess.run(
        [sys.executable, '-c', FAULTS.format(first=first)], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='the C library is not glibc')
def test_kept_memory_has_no_page_faults():
    given_back, kept = faults_after(''), faults_after('assert keep_freed_memory() is True')
    assert kept * 10 < given_back


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(ctypes, 'CDLL', lambda name: object())
    assert heap.keep_freed_memory() is False
