"""Tensors of numpy, torch and files for the C interface: by address, without a copy if they are contiguous."""

from __future__ import annotations

import ctypes
import dataclasses
import json
import math
import os
import sys
from typing import Any, Mapping, Sequence

import numpy as np

from ._native import InvalidModelError, Library, Tensor
from ._text import InvalidInput, describe_type, encode_text, show, show_error
from ._updates import NDArray

_FROM_NUMPY = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "uint16": "U16", "int16": "I16", "float16": "F16", "bfloat16": "BF16",
    "uint32": "U32", "int32": "I32", "float32": "F32", "uint64": "U64", "int64": "I64", "float64": "F64",
}
_FROM_TORCH = {f"torch.{name}": dtype for name, dtype in _FROM_NUMPY.items()}
TO_NUMPY = {dtype: name for name, dtype in _FROM_NUMPY.items() if name != "bfloat16"}
# The library's limit, and numpy's. torch has none.
_MOST_DIMENSIONS = 64


def is_torch(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


@dataclasses.dataclass(frozen=True)
class Bits:
    """The bits of elements for which numpy has no type, and their safetensors type.

    array: uint16, or two raw bytes for each element.
    """

    array: NDArray
    dtype: str

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape


@dataclasses.dataclass(frozen=True)
class FileTensor:
    """One tensor of a safetensors file, which is memory-mapped while it is read.

    path: the file.
    key: the tensor's name in the file. Its name in the model is the key of the model's dict.
    owner: an object that keeps the file alive, if one must.
    """

    path: str | os.PathLike[str]
    key: str
    owner: Any = dataclasses.field(default=None, repr=False)

    def open(self) -> tuple[NDArray, str]:
        """Maps the tensor. Returns it with its safetensors type; bf16 as its 16 bits.

        Raises :class:`InvalidModelError` if the file is invalid, and :class:`OSError`.
        """
        try:
            with open(self.path, "rb") as file:
                length = int.from_bytes(file.read(8), "little")
                size = os.fstat(file.fileno()).st_size
                if length > size - 8:
                    raise ValueError("its header is longer than the file")
                entry = json.loads(file.read(length))[self.key]
            dtype, shape, (first, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
            if dtype != "BF16" and dtype not in TO_NUMPY:
                raise ValueError(f"its type {dtype} is unknown")
            stored = np.dtype(TO_NUMPY.get(dtype, "uint16"))
            nbytes = math.prod(shape) * stored.itemsize
            if nbytes != end - first or not 0 <= first <= end <= size - 8 - length:
                raise ValueError(f"its bytes {first} to {end} do not match {dtype} {list(shape)}")
            mapped = np.memmap(self.path, stored, "r", 8 + length + first, shape) if nbytes else np.empty(shape, stored)
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            reason = f"there is no {error} in it" if isinstance(error, KeyError) else error
            raise InvalidModelError(f"'{os.fspath(self.path)}': tensor '{self.key}' cannot be read: {reason}.") from error
        # the header's length may leave the data unaligned, which the library does not accept
        return (mapped if mapped.ctypes.data % stored.itemsize == 0 else mapped.copy()), dtype


def dtype_of(value: Any) -> str | None:
    """Returns the safetensors type of an array or tensor; None if there is none."""
    if isinstance(value, Bits):
        return value.dtype
    return _FROM_TORCH.get(str(value.dtype)) if is_torch(value) else _FROM_NUMPY.get(np.asarray(value).dtype.name)


class Borrowed:
    """An array of fedicu_tensor. It keeps the tensors' memory alive.

    writable: whether the library writes results to the tensors.
    order: the order of the names; None: that of the dict.
    dtypes: the types of arrays for which numpy has no type.
    lenient: whether tensors of unknown types are described by their types' names, so that the policies apply.
        Otherwise they are refused.

    Raises :class:`InvalidInput`, and what :meth:`FileTensor.open` raises.
    """

    def __init__(
        self,
        tensors: Mapping[str, Any],
        writable: bool = False,
        order: Sequence[str] | None = None,
        dtypes: Mapping[str, str] | None = None,
        lenient: bool = False,
    ) -> None:
        self._alive: list[Any] = []
        self._writable, self._lenient = writable, lenient
        names = list(tensors) if order is None else list(order)
        if order is not None and set(order) != set(tensors):
            odd = min(set(order) ^ set(tensors), key=str)
            raise InvalidInput(f"tensor {show(odd)} is {'missing' if odd in order else 'in none of the other models'}.")
        self.array = (Tensor * max(len(names), 1))()
        self.count = len(names)
        for entry, name in zip(self.array, names):
            self._describe(entry, name, tensors[name], None if dtypes is None else dtypes.get(name))

    def _describe(self, entry: Tensor, name: str, value: Any, dtype: str | None) -> None:
        entry.name = encode_text(name, "a tensor's name")
        which = f"tensor {show(name)}"
        if isinstance(value, FileTensor):
            if self._writable:
                raise InvalidInput(f"{which} is in a file; results are written to tensors in memory, or to a path.")
            self._alive.append(value)
            value, dtype = value.open()
        elif isinstance(value, Bits):
            value, dtype = (value.array.view(np.uint16) if value.array.dtype.kind == "V" else value.array), value.dtype
        value, given, own = self._read_torch(which, value) if is_torch(value) else self._read_numpy(which, value)
        if dtype is not None and dtype != own and (dtype, own) != ("BF16", "U16"):
            raise InvalidInput(f"{which} is labelled {show(dtype)}; its array is {given}.")
        dtype = dtype or own
        if dtype is None and not self._lenient:
            raise InvalidInput(f"{which} is {given}; one of {', '.join(_FROM_NUMPY)} was expected.")
        # for an unknown type the library reads the name only
        entry.dtype = (dtype or given).encode("utf-8", "replace")
        if dtype is not None:
            self._set_data(entry, which, value)

    def _read_torch(self, which: str, value: Any) -> tuple[Any, str, str | None]:
        """Returns a contiguous tensor on the CPU, torch's name of its type, and its safetensors type."""
        if value.device.type != "cpu":
            raise InvalidInput(f"{which} is on {value.device}; the CPU's memory was expected.")
        if not str(value.layout).endswith("strided"):
            raise InvalidInput(f"{which} has the layout {value.layout}; torch.strided was expected.")
        # torch may hold a lazy negation or conjugation that the memory does not show
        value = value.detach().resolve_conj().resolve_neg()
        if not value.is_contiguous():
            if self._writable:
                raise InvalidInput(f"{which} is not contiguous; results are written to contiguous tensors.")
            value = value.contiguous()
        return value, str(value.dtype), dtype_of(value)

    def _read_numpy(self, which: str, value: Any) -> tuple[NDArray, str, str | None]:
        """Returns a contiguous array, numpy's name of its type, and its safetensors type."""
        if isinstance(value, np.ma.MaskedArray):
            raise InvalidInput(f"{which} is a masked array; one without a mask was expected.")
        if not isinstance(value, np.ndarray):
            if self._writable:
                raise InvalidInput(f"{which} is {describe_type(value)}; a writable array was expected.")
            if not _is_array(value):
                raise InvalidInput(f"{which} is {describe_type(value)}; an array was expected.")
            try:
                value = np.asarray(value)
            except Exception as error:  # an object's own conversion may raise anything
                raise InvalidInput(f"{which} is {describe_type(value)} and not an array: {show_error(error)}.") from error
        given, own = value.dtype.name, dtype_of(value)
        usable = value.flags.c_contiguous and value.flags.aligned and value.dtype.isnative
        if self._writable and not usable:
            raise InvalidInput(
                f"{which} is not contiguous, aligned and in the machine's byte order; results are written to arrays that are.")
        if self._writable and not value.flags.writeable:
            raise InvalidInput(f"{which} is read-only; a writable array was expected.")
        if not usable and own is not None:
            # numpy.ascontiguousarray would turn a scalar into an array of one dimension
            value = np.array(value, dtype=native_order(value.dtype), order="C", copy=True, subok=False)
        return value, given, own

    def _set_data(self, entry: Tensor, which: str, value: Any) -> None:
        shape = tuple(value.shape)
        if len(shape) > _MOST_DIMENSIONS:
            raise InvalidInput(f"{which} has {len(shape)} dimensions; at most {_MOST_DIMENSIONS} were expected.")
        lengths = (ctypes.c_int64 * max(len(shape), 1))(*shape)
        entry.rank, entry.shape = len(shape), lengths
        if is_torch(value):
            entry.data, entry.nbytes = value.data_ptr(), value.numel() * value.element_size()
        else:
            entry.data, entry.nbytes = value.ctypes.data, value.nbytes
        self._alive += [value, lengths]


def _is_array(value: Any) -> bool:
    """Returns whether a value is an array of its own kind. numpy would make one of lists and numbers too."""
    return any(hasattr(value, name) for name in ("__array__", "__array_interface__", "__array_struct__"))


def native_order(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Returns the type in the machine's byte order."""
    return dtype if dtype.isnative else dtype.newbyteorder("=")


def empty_like(value: Any) -> Any:
    """Allocates a result. Its memory is numpy's, which the system gives in huge pages; torch's takes six times as long."""
    if is_torch(value):
        dtype = dtype_of(value) or ""
        return like(value, np.empty(tuple(value.shape), TO_NUMPY.get(dtype, "uint16")), dtype)
    if isinstance(value, Bits):
        return Bits(np.empty(value.shape, np.uint16), value.dtype)
    value = np.asarray(value)
    return np.empty(value.shape, dtype=native_order(value.dtype))


def own_copy(value: Any) -> Any:
    """Copies the values into separate memory."""
    return value.detach().clone() if is_torch(value) else np.array(value)


def momentum_like(value: Any) -> Any:
    """Makes zeros of the momentum's type: float64 for float64, otherwise float32."""
    if isinstance(value, FileTensor):
        value = value.open()[0]
    wide = dtype_of(value) == "F64"
    if is_torch(value):
        torch = sys.modules["torch"]
        return torch.zeros(tuple(value.shape), dtype=torch.float64 if wide else torch.float32)
    shape = value.shape if isinstance(value, Bits) else np.shape(value)
    return np.zeros(shape, dtype=np.float64 if wide else np.float32)


def copy_model(native: Library, handle: int) -> tuple[dict[str, NDArray], dict[str, str]]:
    """Copies the tensors of one of the library's updates. Returns them and their safetensors types."""
    count = ctypes.c_int64()
    native.call("update_count", handle, ctypes.byref(count))
    tensors, dtypes = {}, {}
    for i in range(count.value):
        tensor = Tensor()
        native.call("update_tensor", handle, i, ctypes.byref(tensor))
        name = tensor.name.decode()
        tensors[name], dtypes[name] = copy_tensor(tensor), tensor.dtype.decode()
    return tensors, dtypes


def like(value: Any, array: NDArray, dtype: str) -> Any:
    """Converts a copied tensor to the kind of the given value: torch tensor, bits or array."""
    if is_torch(value):
        torch = sys.modules["torch"]
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16) if dtype == "BF16" else torch.from_numpy(array)
    if dtype != "BF16":
        return array
    return array.view(value.dtype) if isinstance(value, np.ndarray) else Bits(array, dtype)


def copy_tensor(tensor: Tensor) -> NDArray:
    """Copies one of the library's tensors; bf16 as its 16 bits, in uint16."""
    dtype = tensor.dtype.decode()
    shape = tuple(tensor.shape[i] for i in range(tensor.rank))
    array = np.empty(shape, dtype=TO_NUMPY.get(dtype, "uint16"))
    if math.prod(shape) > 0:
        ctypes.memmove(array.ctypes.data, tensor.data, tensor.nbytes)
    return array
