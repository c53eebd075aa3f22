"""Bytes that are allocated first and filled in place, so that a result that must be bytes is not copied."""

from __future__ import annotations

import ctypes
import mmap
import sys
from typing import Any

import numpy as np

from ._updates import NDArray

# bytes: 4 MiB, from which on numpy asks for huge pages too
_LARGE = 1 << 22
# madvise's MADV_HUGEPAGE on Linux
_HUGE_PAGES = getattr(mmap, "MADV_HUGEPAGE", 14)

# ctypes.pythonapi of our own: the types of its functions are shared by all users of one object
_PYTHON = ctypes.PyDLL(None, handle=ctypes.pythonapi._handle)


def new_bytes(length: int) -> tuple[bytes, NDArray]:
    """Allocates bytes. Returns them, and their memory as a writable array, which is valid as long as the bytes are.

    CPython allows writes to bytes between PyBytes_FromStringAndSize(NULL, length) and their first use.

    length: at least 2, as Python shares shorter bytes.
    """
    create, address_of = _PYTHON.PyBytes_FromStringAndSize, _PYTHON.PyBytes_AsString
    create.restype, create.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_ssize_t]
    address_of.restype, address_of.argtypes = ctypes.c_void_p, [ctypes.py_object]
    data: bytes = create(None, length)
    address = address_of(data)
    _ask_for_huge_pages(address, length)
    memory: Any = (ctypes.c_uint8 * length).from_address(address)
    # the array keeps the bytes alive
    memory.owner = data
    return data, np.frombuffer(memory, np.uint8)


def _ask_for_huge_pages(address: int, length: int) -> None:
    if length < _LARGE or not sys.platform.startswith("linux"):
        return
    first = -(-address // mmap.PAGESIZE) * mmap.PAGESIZE
    # advice only: the memory works without it
    ctypes.CDLL(None).madvise(ctypes.c_void_p(first), ctypes.c_size_t(address + length - first), _HUGE_PAGES)
