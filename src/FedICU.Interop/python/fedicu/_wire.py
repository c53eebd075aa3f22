"""Masked updates as frameworks carry them: one array for each of the model's names, whatever a client's mask kept.

What the mask packed is an array of bytes: the magic, the digest of the received model, the values, the mask's bits. What it left whole is as it was.
"""

from __future__ import annotations

import math
from typing import Any, Iterable, Mapping

import numpy as np

from . import InvalidArgumentError, MaskedUpdate, mask
from ._tensors import TO_NUMPY, dtype_of, is_torch

_MAGIC = b"FEDICU1\0"
_DIGEST = 72
# a multiple of 16, so that values are aligned where the array is
_HEADER = len(_MAGIC) + _DIGEST
_UPDATE, _BASE, _SHAPE, _VALUES, _MASK = "fedicu.update", "fedicu.base", "fedicu.shape.", "#values", "#mask"


def pack(update: MaskedUpdate, names: Iterable[str]) -> dict[str, np.ndarray]:
    """The update's arrays by the model's names."""
    header = np.frombuffer(_MAGIC + update.metadata[_BASE].encode().ljust(_DIGEST, b"\0"), np.uint8)
    return {
        name: update.tensors[name] if name in update.tensors
        else np.concatenate([header, update.tensors[name + _VALUES].view(np.uint8), update.tensors[name + _MASK]])
        for name in names}


def unpack(client: str, arrays: Mapping[str, Any], received: Mapping[str, Any], delta: bool = False) -> Mapping[str, Any] | MaskedUpdate:
    """What :func:`pack` made, in its memory, with the types and shapes of the model that clients received; arrays of which none is packed are returned as they are."""
    tensors: dict[str, Any] = {}
    dtypes: dict[str, str] = {}
    metadata: dict[str, str] = {}
    for name, array in arrays.items():
        like = received.get(name)
        dtype = None if like is None else dtype_of(like)
        if like is None and _is_packed(array):
            raise InvalidArgumentError(f"Client '{client}', tensor '{name}' is packed, and the model that it was made against has no such tensor or is not known.")
        if not _is_packed(array) or dtype not in ("F64", "F32", "F16", "BF16"):
            tensors[name] = array
            if dtype == "BF16" and isinstance(array, np.ndarray) and array.dtype == np.uint16:
                dtypes[name] = dtype
            continue
        base = array[len(_MAGIC):_HEADER].tobytes().rstrip(b"\0").decode("ascii", "replace")
        if metadata.setdefault(_BASE, base) != base:
            raise InvalidArgumentError(f"Client '{client}': its tensors were made against {metadata[_BASE]} and, '{name}', against {base}; one model was expected.")
        shape = np.shape(like)
        bits = (math.prod(shape) + 7) // 8
        stored = np.dtype(TO_NUMPY.get(dtype, "uint16"))
        nbytes = array.size - _HEADER - bits
        if nbytes < 0 or nbytes % stored.itemsize:
            raise InvalidArgumentError(
                f"Client '{client}', tensor '{name}': {array.size} packed bytes; {_HEADER} of a header, values of {dtype} and {bits} of a mask were expected.")
        tensors[name + _VALUES] = array[_HEADER:_HEADER + nbytes].view(stored)
        tensors[name + _MASK] = array[_HEADER + nbytes:]
        dtypes[name + _VALUES] = dtype
        metadata[_SHAPE + name] = str(list(shape))
    if not metadata and not dtypes:
        return arrays
    return MaskedUpdate(tensors, dtypes, {**metadata, _UPDATE: "sparse" if metadata else "delta" if delta else "full"})


def check(settings: Mapping[str, Any], keep_momentum: bool) -> None:
    """Raises :class:`InvalidOptionsError` where a mask's settings are wrong: when a client is set up, and not when it has trained."""
    zeros = {"w": np.zeros(2, np.float32)}
    mask(zeros, {"w": np.ones(2, np.float32)}, zeros if keep_momentum else None, **settings)


def masked(
    received: Mapping[str, Any], trained: Mapping[str, Any], momentum: Mapping[str, Any] | None, keep_momentum: bool, server_round: Any, settings: Mapping[str, Any],
) -> tuple[dict[str, np.ndarray], Mapping[str, Any]]:
    """What a client sends instead of what it trained, and the momentum that it keeps, if it does."""
    update = mask(received, trained, momentum, keep_momentum=keep_momentum, round=server_round if isinstance(server_round, int) and server_round >= 0 else None, **settings)
    return pack(update, trained), update.momentum


def _is_packed(array: Any) -> bool:
    return not is_torch(array) and isinstance(array, np.ndarray) and array.dtype == np.uint8 and array.ndim == 1 and array.size >= _HEADER and array[:len(_MAGIC)].tobytes() == _MAGIC
