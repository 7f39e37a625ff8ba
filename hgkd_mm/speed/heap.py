"""The C library's heap as a long training has it."""

import ctypes

#: Parameters of glibc's ``mallopt`` (malloc.h).
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


def keep_freed_memory() -> bool:
    """Have glibc keep the memory that is freed, from here to the end of the process.

    By itself it gives large blocks back, and each page that is asked for again is a page fault. A training has ever
    fewer of them over its first hundred steps, for its heap grows; a measurement of a few steps would count them all,
    and most those of the arm with the largest activations.

    Returns:
        Whether the C library could be told; one other than glibc cannot, and changes nothing.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # no such function; TypeError: no library of the process, on Windows
        return False
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, -1))
