"""Masked updates as frameworks send them: one array for each of the model's names.

A tensor that the mask packed becomes an array of bytes: magic bytes, the digest of the received model, the values, and
the mask's bits. A tensor that the mask left whole is sent unchanged.
"""

from __future__ import annotations

import collections
import logging
import math
from typing import Any, Iterable, Mapping

import numpy as np

from ._aggregator import Aggregator
from ._client import mask
from ._tensors import TO_NUMPY, Bits, dtype_of
from ._text import InvalidInput, show
from ._updates import MaskedUpdate, NDArray

_MAGIC = b"FEDICU1\0"
# bytes; chosen: 'sha256:' and 64 hexadecimal digits, rounded up to a multiple of 8
_DIGEST_LENGTH = 72
# bytes; must stay a multiple of 16, so that the values are aligned if the array is
_HEADER_LENGTH = len(_MAGIC) + _DIGEST_LENGTH
# characters of a digest in a message; chosen, so that a whole digest fits
_LONGEST_DIGEST = 80
# the metadata keys and name suffixes of packed updates (docs/adr/0006)
_UPDATE, _BASE, _SHAPE, _VALUES, _MASK = "fedicu.update", "fedicu.base", "fedicu.shape.", "#values", "#mask"


def pack(update: MaskedUpdate, names: Iterable[str]) -> dict[str, NDArray | Bits]:
    """Returns the update's arrays by the model's names."""
    header = np.frombuffer(_MAGIC + update.metadata[_BASE].encode().ljust(_DIGEST_LENGTH, b"\0"), np.uint8)
    packed = {}
    for name in names:
        if name not in update.tensors:
            packed[name] = np.concatenate([header, update.tensors[name + _VALUES].view(np.uint8), update.tensors[name + _MASK]])
        else:
            packed[name] = Bits(update.tensors[name], "BF16") if update.dtypes[name] == "BF16" else update.tensors[name]
    return packed


def unpack(arrays: Mapping[str, Any], received: Mapping[str, Any]) -> Mapping[str, Any] | MaskedUpdate:
    """Reverses :func:`pack` without a copy, with the types and shapes of the model that the clients received.

    Returns the arrays unchanged if none is packed. Raises :class:`InvalidInput`.
    """
    tensors: dict[str, Any] = {}
    dtypes: dict[str, str] = {}
    metadata: dict[str, str] = {}
    for name, array in arrays.items():
        like = received.get(name)
        if like is None and is_packed(array):
            raise InvalidInput(
                f"tensor {show(name)} is packed, and the model that it was made against has no such tensor or is not known.")
        dtype = None if like is None else dtype_of(like)
        if like is None or not is_packed(array) or dtype not in ("F64", "F32", "F16", "BF16"):
            tensors[name] = array
            continue
        array = np.ascontiguousarray(array)
        base = array[len(_MAGIC):_HEADER_LENGTH].tobytes().rstrip(b"\0").decode("ascii", "replace")
        if metadata.setdefault(_BASE, base) != base:
            first, other = show(metadata[_BASE], _LONGEST_DIGEST), show(base, _LONGEST_DIGEST)
            raise InvalidInput(f"its tensors were made against {first} and, '{name}', against {other}; one model was expected.")
        shape = np.shape(like)
        mask_bytes = (math.prod(shape) + 7) // 8
        stored = np.dtype(TO_NUMPY.get(dtype, "uint16"))
        nbytes = array.size - _HEADER_LENGTH - mask_bytes
        if nbytes < 0 or nbytes % stored.itemsize:
            raise InvalidInput(
                f"tensor '{name}': {array.size} packed bytes; "
                f"{_HEADER_LENGTH} of a header, values of {dtype} and {mask_bytes} of a mask were expected.")
        tensors[name + _VALUES] = array[_HEADER_LENGTH:_HEADER_LENGTH + nbytes].view(stored)
        tensors[name + _MASK] = array[_HEADER_LENGTH + nbytes:]
        dtypes[name + _VALUES] = dtype
        metadata[_SHAPE + name] = str(list(shape))
    if not metadata:
        return arrays
    return MaskedUpdate(tensors, dtypes, {**metadata, _UPDATE: "sparse"})


def most_common_form(models: Iterable[Any]) -> Mapping[str, Any]:
    """Returns the first model with the names, types and shapes that most models have.

    It replaces a global model that is not known: FedAvg needs only its names, types and shapes. The majority decides, so
    that one client with another form cannot.
    """
    with_forms = [(model, _form_of(model)) for model in models]
    counts = collections.Counter(form for _, form in with_forms if form is not None)
    if not counts:
        return {}
    most_common = counts.most_common(1)[0][0]
    return next(model for model, form in with_forms if form == most_common)


def _form_of(model: Any) -> tuple[Any, ...] | None:
    """Returns names, types and shapes of a model; None if it cannot be read."""
    if not isinstance(model, Mapping):
        return None
    try:
        form = tuple((name, dtype_of(value), tuple(np.shape(value))) for name, value in model.items())
    except Exception:  # a value's own conversion may raise anything
        return None
    return form if all(dtype is not None for _, dtype, _ in form) else None


def included_clients(aggregator: Aggregator, log: logging.Logger) -> set[str]:
    """Returns the clients that the last round's report includes. Logs the others with their reasons."""
    clients = aggregator.report["clients"]
    for client in clients:
        if not client["included"]:
            log.warning("The round went on without client %r: %s", client["id"], client["reason"])
    return {client["id"] for client in clients if client["included"]}


def check_settings(settings: Mapping[str, Any], keep_momentum: bool) -> None:
    """Raises :class:`InvalidOptionsError` if a mask's settings are wrong.

    A client calls it when it is set up. Otherwise the error would come only after training.
    """
    zeros = {"w": np.zeros(2, np.float32)}
    mask(zeros, {"w": np.ones(2, np.float32)}, zeros if keep_momentum else None, **settings)


def mask_and_pack(
    received: Mapping[str, Any],
    trained: Mapping[str, Any],
    momentum: Mapping[str, Any] | None,
    keep_momentum: bool,
    server_round: Any,
    settings: Mapping[str, Any],
) -> tuple[dict[str, NDArray | Bits], Mapping[str, Any]]:
    """Returns the arrays that a client sends for its trained model, and its new momentum ({} if none is kept)."""
    number = server_round if isinstance(server_round, int) and server_round >= 0 else None
    update = mask(received, trained, momentum, keep_momentum=keep_momentum, round=number, **settings)
    return pack(update, trained), update.momentum


def is_packed(array: Any) -> bool:
    """Returns whether an array is one that :func:`pack` made."""
    if not isinstance(array, np.ndarray) or array.dtype != np.uint8 or array.ndim != 1:
        return False
    return array.size >= _HEADER_LENGTH and array[:len(_MAGIC)].tobytes() == _MAGIC
