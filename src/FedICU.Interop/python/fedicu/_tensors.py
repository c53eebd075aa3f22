"""Tensors of numpy, torch and safetensors files as the C interface takes them: by address, without a copy where they are contiguous."""

from __future__ import annotations

import ctypes
import dataclasses
import json
import math
import os
import sys
from typing import Any, Mapping, Sequence

import numpy as np

from ._native import InvalidArgumentError, InvalidModelError, Tensor

_FROM_NUMPY = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "uint16": "U16", "int16": "I16", "float16": "F16", "bfloat16": "BF16",
    "uint32": "U32", "int32": "I32", "float32": "F32", "uint64": "U64", "int64": "I64", "float64": "F64",
}
_FROM_TORCH = {f"torch.{name}": dtype for name, dtype in _FROM_NUMPY.items()}
TO_NUMPY = {dtype: name for name, dtype in _FROM_NUMPY.items() if name != "bfloat16"}


def is_torch(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


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
        except (KeyError, TypeError, ValueError) as error:
            reason = f"there is no {error} in it" if isinstance(error, KeyError) else error
            raise InvalidModelError(f"'{os.fspath(self.path)}': tensor '{self.key}' cannot be read: {reason}.") from error
        # what a file's header leaves out of step is copied
        return (mapped if mapped.ctypes.data % stored.itemsize == 0 else mapped.copy()), dtype


def dtype_of(value: Any) -> str | None:
    """The safetensors type of an array or tensor; None where there is none."""
    return _FROM_TORCH.get(str(value.dtype)) if is_torch(value) else _FROM_NUMPY.get(np.asarray(value).dtype.name)


class Borrowed:
    """An array of fedicu_tensor, and what keeps the memory alive that it names. dtypes: the types of arrays that numpy has no name for."""

    def __init__(
        self, tensors: Mapping[str, Any], writable: bool = False, order: Sequence[str] | None = None, dtypes: Mapping[str, str] | None = None,
    ) -> None:
        self._alive: list[Any] = []
        names = list(tensors) if order is None else list(order)
        if order is not None and set(order) != set(tensors):
            odd = sorted(set(order) ^ set(tensors))[0]
            raise InvalidArgumentError(f"Tensor '{odd}' is in one of the models and not in the other.")
        self.array = (Tensor * max(len(names), 1))()
        self.count = len(names)
        for entry, name in zip(self.array, names):
            self._describe(entry, name, tensors[name], writable, None if dtypes is None else dtypes.get(name))

    def _describe(self, entry: Tensor, name: str, value: Any, writable: bool, dtype: str | None) -> None:
        if isinstance(value, FileTensor):
            if writable:
                raise InvalidArgumentError(f"Tensor '{name}' is one of a file; results are written to tensors in memory, or to a path.")
            self._alive.append(value)
            value, dtype = value.open()
        if is_torch(value):
            value = value.detach()
            if value.device.type != "cpu":
                raise InvalidArgumentError(f"Tensor '{name}' lies on {value.device}; the processor's memory was expected.")
            contiguous, given = value.is_contiguous(), str(value.dtype)
            dtype = dtype or dtype_of(value)
            if not contiguous and not writable:
                value = value.contiguous()
            shape, address, nbytes = tuple(value.shape), value.data_ptr(), value.numel() * value.element_size()
        else:
            value = np.asarray(value)
            contiguous, given = value.flags.c_contiguous and value.dtype.isnative, str(value.dtype)
            dtype = dtype or dtype_of(value)
            if not contiguous and not writable:
                value = np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("="))
            shape, address, nbytes = value.shape, value.ctypes.data, value.nbytes
            if writable and not value.flags.writeable:
                raise InvalidArgumentError(f"Tensor '{name}' is read-only; one that can be written to was expected.")
        if dtype is None:
            raise InvalidArgumentError(f"Tensor '{name}' is {given}; one of {', '.join(_FROM_NUMPY)} was expected.")
        if writable and not contiguous:
            raise InvalidArgumentError(f"Tensor '{name}' is not contiguous; results are written to contiguous ones.")
        lengths = (ctypes.c_int64 * max(len(shape), 1))(*shape)
        entry.name, entry.dtype, entry.rank = name.encode(), dtype.encode(), len(shape)
        entry.shape, entry.data, entry.nbytes = lengths, address, nbytes
        self._alive += [value, lengths]


def empty_like(value: Any) -> Any:
    if is_torch(value):
        torch = sys.modules["torch"]
        return torch.empty(tuple(value.shape), dtype=value.dtype)
    value = np.asarray(value)
    return np.empty(value.shape, dtype=value.dtype.newbyteorder("="))


def own_copy(value: Any) -> Any:
    """The same values in memory of their own."""
    return value.detach().clone() if is_torch(value) else np.array(value)


def momentum_like(value: Any) -> Any:
    """Zeros of the momentum's type: float64 for float64, else float32."""
    if isinstance(value, FileTensor):
        value = value.open()[0]
    wide = str(value.dtype).endswith("float64")
    if is_torch(value):
        torch = sys.modules["torch"]
        return torch.zeros(tuple(value.shape), dtype=torch.float64 if wide else torch.float32)
    return np.zeros(np.asarray(value).shape, dtype=np.float64 if wide else np.float32)


def copy_of(tensor: Tensor) -> np.ndarray:
    """A copy of the library's tensor; bf16 as its 16 bits, in uint16."""
    dtype = tensor.dtype.decode()
    shape = tuple(tensor.shape[i] for i in range(tensor.rank))
    array = np.empty(shape, dtype=TO_NUMPY.get(dtype, "uint16"))
    if math.prod(shape) > 0:
        ctypes.memmove(array.ctypes.data, tensor.data, tensor.nbytes)
    return array
