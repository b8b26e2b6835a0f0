"""Memory of a CPU: what a tensor leaves goes back to the system."""

import ctypes

M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
BLOCK = 1 << 20


def give_back() -> None:
    """Have glibc map blocks of 1 MiB and more each by itself, and unmap them when they are freed.

    It does so from 128 KiB on, but raises that limit to as much as 32 MiB as blocks are freed. Activations of unequal sizes then leave
    holes in its heap, which grow to a fifth of a step's memory. Where there is another library than glibc nothing changes.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(M_MMAP_THRESHOLD, BLOCK)
