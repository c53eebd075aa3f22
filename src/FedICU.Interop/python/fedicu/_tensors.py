"""Tensors of numpy, torch and safetensors files as the C interface takes them: by address, without a copy where they are contiguous."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import json
import math
import os
import sys
from typing import Any, Iterator, Mapping, Sequence

import numpy as np

from ._native import InvalidArgumentError, InvalidModelError, Tensor

_FROM_NUMPY = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "uint16": "U16", "int16": "I16", "float16": "F16", "bfloat16": "BF16",
    "uint32": "U32", "int32": "I32", "float32": "F32", "uint64": "U64", "int64": "I64", "float64": "F64",
}
_FROM_TORCH = {f"torch.{name}": dtype for name, dtype in _FROM_NUMPY.items()}
TO_NUMPY = {dtype: name for name, dtype in _FROM_NUMPY.items() if name != "bfloat16"}
# numpy has at most 64 dimensions and torch no limit; the library reads no more
_MOST_DIMENSIONS = 64


class Unfit(ValueError):
    """Why something is no tensor that the library can read, in a sentence that begins after its owner's name."""


@contextlib.contextmanager
def whose(owner: str) -> Iterator[None]:
    """Names the owner of what is unfit; for models that are no client's, whose faults no policy decides."""
    try:
        yield
    except Unfit as error:
        raise InvalidArgumentError(f"{owner}: {error}") from error


def shown(value: Any, longest: int = 60) -> str:
    """A value as a sentence shows it: short, whatever it is."""
    try:
        text = repr(value)
    except Exception:  # numbers of thousands of digits; objects of others
        text = f"a {type(value).__name__}"
    return _cut(text, longest)


def told(error: Exception) -> str:
    """An error of another library's, on one line."""
    return _cut(" ".join(str(error).split()).rstrip("."), 200)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest // 2] + "..." + text[-longest // 2:]


def text_bytes(text: Any, what: str) -> bytes:
    """Text for the C interface."""
    if not isinstance(text, str):
        raise Unfit(f"{what} is {shown(text)}; text was expected.")
    if "\0" in text:
        raise Unfit(f"{what} {shown(text)} has a zero character; text without one was expected.")
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise Unfit(f"{what} {shown(text)} is not Unicode; text that UTF-8 can hold was expected.") from None


def path_bytes(path: str | os.PathLike[str]) -> bytes:
    """A path for the C interface."""
    return text_bytes(os.fsdecode(path), "its path")


def is_torch(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


@dataclasses.dataclass(frozen=True)
class Bits:
    """The bits of elements for which numpy has no type of its own, as uint16 or two raw bytes each, and the safetensors type that they are of."""

    array: np.ndarray
    dtype: str

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape


@dataclasses.dataclass(frozen=True)
class FileTensor:
    """One tensor of a safetensors file, which is mapped where it lies while it is read.

    path: the file. key: the tensor's name in it; the model's name is the mapping's. owner: what keeps the file alive, if anything must.
    """

    path: str | os.PathLike[str]
    key: str
    owner: Any = dataclasses.field(default=None, repr=False)

    def open(self) -> tuple[np.ndarray, str]:
        """The mapped tensor and its type; bf16 as its 16 bits. Raises :class:`InvalidModelError` where the file is not as it should be, :class:`OSError`."""
        try:
            with open(self.path, "rb") as file:
                length = int.from_bytes(file.read(8), "little")
                size = os.fstat(file.fileno()).st_size
                if length > size - 8:
                    raise ValueError("its header is longer than the file")
                said = json.loads(file.read(length))[self.key]
            dtype, shape, (first, end) = said["dtype"], tuple(said["shape"]), said["data_offsets"]
            if dtype != "BF16" and dtype not in TO_NUMPY:
                raise ValueError(f"its type {dtype} is unknown")
            stored = np.dtype(TO_NUMPY.get(dtype, "uint16"))
            nbytes = math.prod(shape) * stored.itemsize
            if nbytes != end - first or not 0 <= first <= end <= size - 8 - length:
                raise ValueError(f"its bytes {first} to {end} are not those of {dtype} {list(shape)}")
            mapped = np.memmap(self.path, stored, "r", 8 + length + first, shape) if nbytes else np.empty(shape, stored)
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            reason = f"there is no {error} in it" if isinstance(error, KeyError) else error
            raise InvalidModelError(f"'{os.fspath(self.path)}': tensor '{self.key}' cannot be read: {reason}.") from error
        # what a file's header leaves out of step is copied
        return (mapped if mapped.ctypes.data % stored.itemsize == 0 else mapped.copy()), dtype


def dtype_of(value: Any) -> str | None:
    """The safetensors type of an array or tensor; None where there is none."""
    if isinstance(value, Bits):
        return value.dtype
    return _FROM_TORCH.get(str(value.dtype)) if is_torch(value) else _FROM_NUMPY.get(np.asarray(value).dtype.name)


class Borrowed:
    """An array of fedicu_tensor, and what keeps the memory alive that it names.

    writable: whether results are written to the tensors. order: their names' order. dtypes: the types of arrays that numpy has no name for. lenient: whether tensors of types that
    the library does not have are described by their types' names, for the policies, and not refused. Raises :class:`Unfit`, and what :meth:`FileTensor.open` raises.
    """

    def __init__(
        self, tensors: Mapping[str, Any], writable: bool = False, order: Sequence[str] | None = None, dtypes: Mapping[str, str] | None = None, lenient: bool = False,
    ) -> None:
        self._alive: list[Any] = []
        self._writable, self._lenient = writable, lenient
        names = list(tensors) if order is None else list(order)
        if order is not None and set(order) != set(tensors):
            odd = min(set(order) ^ set(tensors), key=str)
            raise Unfit(f"tensor {shown(odd)} is {'missing' if odd in order else 'in none of the other models'}.")
        self.array = (Tensor * max(len(names), 1))()
        self.count = len(names)
        for entry, name in zip(self.array, names):
            self._describe(entry, name, tensors[name], None if dtypes is None else dtypes.get(name))

    def _describe(self, entry: Tensor, name: str, value: Any, dtype: str | None) -> None:
        entry.name = text_bytes(name, "a tensor's name")
        which = f"tensor {shown(name)}"
        if isinstance(value, FileTensor):
            if self._writable:
                raise Unfit(f"{which} is one of a file; results are written to tensors in memory, or to a path.")
            self._alive.append(value)
            value, dtype = value.open()
        elif isinstance(value, Bits):
            value, dtype = (value.array.view(np.uint16) if value.array.dtype.kind == "V" else value.array), value.dtype
        value, given, own = self._torch(which, value) if is_torch(value) else self._numpy(which, value)
        if dtype is not None and dtype != own and (dtype, own) != ("BF16", "U16"):
            raise Unfit(f"{which} is labelled {shown(dtype)}; its array is {given}.")
        dtype = dtype or own
        if dtype is None and not self._lenient:
            raise Unfit(f"{which} is {given}; one of {', '.join(_FROM_NUMPY)} was expected.")
        # of an unknown type the library reads the name alone
        entry.dtype = (dtype or given).encode("utf-8", "replace")
        if dtype is not None:
            self._place(entry, which, value)

    def _torch(self, which: str, value: Any) -> tuple[Any, str, str | None]:
        """The tensor in memory that can be read from its address on."""
        if value.device.type != "cpu":
            raise Unfit(f"{which} is on {value.device}; the CPU's memory was expected.")
        if not str(value.layout).endswith("strided"):
            raise Unfit(f"{which} has the layout {value.layout}; torch.strided was expected.")
        # views that are negated or conjugated when they are read
        value = value.detach().resolve_conj().resolve_neg()
        if not value.is_contiguous():
            if self._writable:
                raise Unfit(f"{which} is not contiguous; results are written to contiguous ones.")
            value = value.contiguous()
        return value, str(value.dtype), dtype_of(value)

    def _numpy(self, which: str, value: Any) -> tuple[np.ndarray, str, str | None]:
        if isinstance(value, np.ma.MaskedArray):
            raise Unfit(f"{which} is a masked array; one without a mask was expected.")
        if not isinstance(value, np.ndarray):
            if self._writable:
                raise Unfit(f"{which} is a {type(value).__name__}; an array that can be written to was expected.")
            try:
                value = np.asarray(value)
            except Exception as error:  # whatever an object's own conversion raises
                raise Unfit(f"{which} is a {type(value).__name__} that is no array: {told(error)}.") from error
        given, own = value.dtype.name, dtype_of(value)
        usable = value.flags.c_contiguous and value.flags.aligned and value.dtype.isnative
        if self._writable and not usable:
            raise Unfit(f"{which} is not contiguous, aligned and of the machine's byte order; results are written to arrays that are.")
        if self._writable and not value.flags.writeable:
            raise Unfit(f"{which} is read-only; one that can be written to was expected.")
        if not usable and own is not None:
            # not numpy.ascontiguousarray, which makes one dimension of none
            value = np.array(value, dtype=native(value.dtype), order="C", copy=True, subok=False)
        return value, given, own

    def _place(self, entry: Tensor, which: str, value: Any) -> None:
        shape = tuple(value.shape)
        if len(shape) > _MOST_DIMENSIONS:
            raise Unfit(f"{which} has {len(shape)} dimensions; at most {_MOST_DIMENSIONS} were expected.")
        lengths = (ctypes.c_int64 * max(len(shape), 1))(*shape)
        entry.rank, entry.shape = len(shape), lengths
        if is_torch(value):
            entry.data, entry.nbytes = value.data_ptr(), value.numel() * value.element_size()
        else:
            entry.data, entry.nbytes = value.ctypes.data, value.nbytes
        self._alive += [value, lengths]


def native(dtype: np.dtype) -> np.dtype:
    """The type in the machine's byte order."""
    return dtype if dtype.isnative else dtype.newbyteorder("=")


def empty_like(value: Any) -> Any:
    if is_torch(value):
        torch = sys.modules["torch"]
        return torch.empty(tuple(value.shape), dtype=value.dtype)
    if isinstance(value, Bits):
        return Bits(np.empty(value.shape, np.uint16), value.dtype)
    value = np.asarray(value)
    return np.empty(value.shape, dtype=native(value.dtype))


def own_copy(value: Any) -> Any:
    """The same values in memory of their own."""
    return value.detach().clone() if is_torch(value) else np.array(value)


def momentum_like(value: Any) -> Any:
    """Zeros of the momentum's type: float64 for float64, else float32."""
    if isinstance(value, FileTensor):
        value = value.open()[0]
    wide = dtype_of(value) == "F64"
    if is_torch(value):
        torch = sys.modules["torch"]
        return torch.zeros(tuple(value.shape), dtype=torch.float64 if wide else torch.float32)
    shape = value.shape if isinstance(value, Bits) else np.shape(value)
    return np.zeros(shape, dtype=np.float64 if wide else np.float32)


def copy_of(tensor: Tensor) -> np.ndarray:
    """A copy of the library's tensor; bf16 as its 16 bits, in uint16."""
    dtype = tensor.dtype.decode()
    shape = tuple(tensor.shape[i] for i in range(tensor.rank))
    array = np.empty(shape, dtype=TO_NUMPY.get(dtype, "uint16"))
    if math.prod(shape) > 0:
        ctypes.memmove(array.ctypes.data, tensor.data, tensor.nbytes)
    return array
