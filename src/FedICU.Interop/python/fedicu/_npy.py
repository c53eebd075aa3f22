"""Arrays in the bytes of numpy's save, as Flower sends them, and Flower's labels on them."""

from __future__ import annotations

import functools
import io
import math
from typing import Any, Literal

import numpy as np

from ._memory import new_bytes
from ._tensors import Bits, native_order
from ._text import InvalidInput, describe_type, show, show_error
from ._updates import NDArray

# Flower's name of the serialization
STYPE = "numpy.ndarray"
# the label of a type that numpy does not have
BFLOAT16 = "bfloat16"
# bytes; numpy's own limit
_LONGEST_HEADER = 10_000
# What numpy and Flower say when they read a masked update: numpy puts the type of a header that it does not know into
# its error. So another strategy, or a wrapper around ours, cannot average the bytes as if they were a model.
_UNREADABLE = "a masked update of FedICUMod that only fedicu.flower's own strategies can read"


def _make_header(fields: dict[str, Any]) -> bytes:
    """Makes numpy's header, whose length is a multiple of 64, so that the data are aligned."""
    file = io.BytesIO()
    # not typed in all versions of numpy
    numpys: Any = np.lib.format
    numpys.write_array_header_1_0(file, fields)
    return file.getvalue()


_PACKED = _make_header({"descr": _UNREADABLE, "fortran_order": False, "shape": (1,)})


def view(which: str, stype: Any, data: Any) -> NDArray:
    """Returns the array in the bytes of numpy's save, without a copy. Raises :class:`InvalidInput`."""
    if stype != STYPE:
        raise InvalidInput(f"{which} is serialized as {show(stype)}; '{STYPE}' was expected.")
    if not isinstance(data, (bytes, bytearray)):
        raise InvalidInput(f"{which} is {describe_type(data)}; the bytes of an array were expected.")
    if data.startswith(_PACKED):
        return np.frombuffer(data, np.uint8, offset=len(_PACKED))
    # the version's first byte, then the header's length: of two bytes in version 1
    first = 10 if data[6:7] == b"\x01" else 12
    length = int.from_bytes(data[8:first], "little")
    try:
        shape, order, dtype, end = _read_header(bytes(data[: first + min(length, _LONGEST_HEADER)]))
        count = math.prod(shape)
        more = len(data) - end - count * dtype.itemsize
        if more > 0:
            raise ValueError(f"{more} bytes follow the array")
        return np.frombuffer(data, dtype, count, end).reshape(shape, order=order)
    except Exception as error:  # numpy's parser raises many kinds of errors for bytes that are not a header
        raise InvalidInput(f"{which}: its {len(data)} bytes are not an array as numpy saves it: {show_error(error)}.") from error


@functools.lru_cache(maxsize=1024)
def _read_header(head: bytes) -> tuple[tuple[int, ...], Literal["C", "F"], np.dtype[Any], int]:
    """Returns shape, order and type of an array, and where its data begin. Clients' headers are the same in each round."""
    file = io.BytesIO(head)
    # not typed in all versions of numpy
    numpys: Any = np.lib.format
    version = numpys.read_magic(file)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"its format's version is {version}")
    read = numpys.read_array_header_1_0 if version == (1, 0) else numpys.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    if min(shape, default=0) < 0:
        raise ValueError(f"its shape is {shape}")
    return shape, "F" if fortran else "C", dtype, file.tell()


def view_labelled(name: str, array: Any) -> NDArray | Bits:
    """Returns the array in one of Flower's Arrays. Its label must match its bytes. Raises :class:`InvalidInput`.

    numpy has no bfloat16, so that label goes with elements of 16 bits: uint16, or the raw type that numpy saves for
    arrays of ml_dtypes. Arrays made from numbered parameters have no label.
    """
    which = f"tensor {show(name)}"
    read = view(which, array.stype, array.data)
    shape, label = tuple(array.shape), str(array.dtype).removeprefix("torch.")
    if not label and not shape:
        return read
    if shape != read.shape:
        raise InvalidInput(f"{which} is labelled with the shape {show(shape)}; its bytes have {read.shape}.")
    if label == BFLOAT16 and (native_order(read.dtype) == np.uint16 or read.dtype == np.dtype("V2")):
        return Bits(read, "BF16")
    if label and label not in (read.dtype.name, str(read.dtype)) and not _is_name_of(label, read.dtype):
        raise InvalidInput(f"{which} is labelled {show(array.dtype)}; its bytes are {read.dtype.name}.")
    return read


def _is_name_of(label: str, dtype: np.dtype[Any]) -> bool:
    """Returns whether a label is another of numpy's names for a type, such as '<f4' or 'double'."""
    try:
        named = np.dtype(label)
    except Exception:  # numpy's parser of type names raises several kinds of errors
        return False
    return named == dtype if label[:1] in "<>" else native_order(named) == native_order(dtype)


def allocate(like: NDArray) -> tuple[bytes, NDArray]:
    """Allocates an array inside the bytes of numpy's save. Returns the bytes, and the array that the caller must fill.

    The array must be filled before the bytes are given to anything else, since bytes never change.
    """
    dtype = native_order(like.dtype)
    numpys: Any = np.lib.format
    header = _make_header({"descr": numpys.dtype_to_descr(dtype), "fortran_order": False, "shape": like.shape})
    data, memory = new_bytes(len(header) + like.size * dtype.itemsize)
    memory[: len(header)] = np.frombuffer(header, np.uint8)
    return data, memory[len(header):].view(dtype).reshape(like.shape)


def save_packed(array: NDArray) -> bytes:
    """Returns the bytes of a packed array, which :func:`view` reads and numpy refuses."""
    return _PACKED + array.tobytes()


def save(array: NDArray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()
