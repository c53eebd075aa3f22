"""Masked updates as frameworks carry them: one array for each of the model's names, whatever a client's mask kept.

What the mask packed is an array of bytes: the magic, the digest of the received model, the values, the mask's bits. What it left whole is as it was.
"""

from __future__ import annotations

import collections
import logging
import math
from typing import Any, Iterable, Mapping

import numpy as np

from . import Aggregator, MaskedUpdate, mask
from ._tensors import TO_NUMPY, Bits, Unfit, dtype_of, shown

_MAGIC = b"FEDICU1\0"
_DIGEST = 72
# a multiple of 16, so that values are aligned where the array is
_HEADER = len(_MAGIC) + _DIGEST
_UPDATE, _BASE, _SHAPE, _VALUES, _MASK = "fedicu.update", "fedicu.base", "fedicu.shape.", "#values", "#mask"


def pack(update: MaskedUpdate, names: Iterable[str]) -> dict[str, np.ndarray | Bits]:
    """The update's arrays by the model's names."""
    header = np.frombuffer(_MAGIC + update.metadata[_BASE].encode().ljust(_DIGEST, b"\0"), np.uint8)
    packed = {}
    for name in names:
        if name not in update.tensors:
            packed[name] = np.concatenate([header, update.tensors[name + _VALUES].view(np.uint8), update.tensors[name + _MASK]])
        else:
            packed[name] = Bits(update.tensors[name], "BF16") if update.dtypes[name] == "BF16" else update.tensors[name]
    return packed


def unpack(arrays: Mapping[str, Any], received: Mapping[str, Any]) -> Mapping[str, Any] | MaskedUpdate:
    """What :func:`pack` made, in its memory, with the types and shapes of the model that clients received.

    Arrays of which none is packed are returned as they are. Raises :class:`Unfit`.
    """
    tensors: dict[str, Any] = {}
    dtypes: dict[str, str] = {}
    metadata: dict[str, str] = {}
    for name, array in arrays.items():
        like = received.get(name)
        dtype = None if like is None else dtype_of(like)
        if like is None and _is_packed(array):
            raise Unfit(f"tensor {shown(name)} is packed, and the model that it was made against has no such tensor or is not known.")
        if not _is_packed(array) or dtype not in ("F64", "F32", "F16", "BF16"):
            tensors[name] = array
            continue
        array = np.ascontiguousarray(array)
        base = array[len(_MAGIC):_HEADER].tobytes().rstrip(b"\0").decode("ascii", "replace")
        if metadata.setdefault(_BASE, base) != base:
            raise Unfit(f"its tensors were made against {shown(metadata[_BASE], 80)} and, '{name}', against {shown(base, 80)}; one model was expected.")
        shape = np.shape(like)
        bits = (math.prod(shape) + 7) // 8
        stored = np.dtype(TO_NUMPY.get(dtype, "uint16"))
        nbytes = array.size - _HEADER - bits
        if nbytes < 0 or nbytes % stored.itemsize:
            raise Unfit(f"tensor '{name}': {array.size} packed bytes; {_HEADER} of a header, values of {dtype} and {bits} of a mask were expected.")
        tensors[name + _VALUES] = array[_HEADER:_HEADER + nbytes].view(stored)
        tensors[name + _MASK] = array[_HEADER + nbytes:]
        dtypes[name + _VALUES] = dtype
        metadata[_SHAPE + name] = str(list(shape))
    if not metadata:
        return arrays
    return MaskedUpdate(tensors, dtypes, {**metadata, _UPDATE: "sparse"})


def schema(models: Iterable[Any]) -> Mapping[str, Any]:
    """The first of the models whose names, types and shapes most models have.

    It stands for a global model that is not known, of which FedAvg needs no more; so a client that sends another form does not decide which one is right.
    """
    formed = [(model, _form(model)) for model in models]
    forms = collections.Counter(form for _, form in formed if form is not None)
    if not forms:
        return {}
    most = forms.most_common(1)[0][0]
    return next(model for model, form in formed if form == most)


def _form(model: Any) -> tuple[Any, ...] | None:
    """Names, types and shapes of a model that can be read; None of any other."""
    if not isinstance(model, Mapping):
        return None
    try:
        form = tuple((name, dtype_of(value), tuple(np.shape(value))) for name, value in model.items())
    except Exception:  # whatever a value's own conversion raises
        return None
    return form if all(dtype is not None for _, dtype, _ in form) else None


def included(aggregator: Aggregator, log: logging.Logger) -> set[str]:
    """The clients that the last round's report includes; the others, with their reasons, go to the log."""
    clients = aggregator.report["clients"]
    for client in clients:
        if not client["included"]:
            log.warning("The round went on without client %r: %s", client["id"], client["reason"])
    return {client["id"] for client in clients if client["included"]}


def check(settings: Mapping[str, Any], keep_momentum: bool) -> None:
    """Raises :class:`InvalidOptionsError` where a mask's settings are wrong: when a client is set up, and not when it has trained."""
    zeros = {"w": np.zeros(2, np.float32)}
    mask(zeros, {"w": np.ones(2, np.float32)}, zeros if keep_momentum else None, **settings)


def masked(
    received: Mapping[str, Any], trained: Mapping[str, Any], momentum: Mapping[str, Any] | None, keep_momentum: bool, server_round: Any, settings: Mapping[str, Any],
) -> tuple[dict[str, np.ndarray | Bits], Mapping[str, Any]]:
    """What a client sends instead of what it trained, and the momentum that it keeps, if it does."""
    number = server_round if isinstance(server_round, int) and server_round >= 0 else None
    update = mask(received, trained, momentum, keep_momentum=keep_momentum, round=number, **settings)
    return pack(update, trained), update.momentum


def _is_packed(array: Any) -> bool:
    if not isinstance(array, np.ndarray) or array.dtype != np.uint8 or array.ndim != 1:
        return False
    return array.size >= _HEADER and array[:len(_MAGIC)].tobytes() == _MAGIC
