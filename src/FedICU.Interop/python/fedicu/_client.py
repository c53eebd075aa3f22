"""The client's side: masked updates and FedProx's term."""

from __future__ import annotations

import ctypes
import json
import os
from typing import Any

from . import _native
from ._aggregator import settings_as_text
from ._tensors import Borrowed, copy_model, momentum_like
from ._text import encode_path, owned_by
from ._updates import MaskedUpdate, Tensors


def mask(
    global_model: Tensors,
    local: Tensors,
    momentum: Tensors | None = None,
    *,
    keep_momentum: bool = False,
    threads: int = 0,
    round: int | None = None,
    dense: bool = False,
    path: str | os.PathLike[str] | None = None,
    **settings: Any,
) -> MaskedUpdate:
    """Makes the update that a client sends: the trained values that are more important than the received ones.

    A server's :meth:`Aggregator.aggregate` takes the update, or the path of its file.

    momentum: the momentum of the update before; None: only this round's change decides.
    keep_momentum: whether the update has a momentum for the next call. A given momentum implies it.
    round: the round's number, for the metadata.
    dense: whether the update is the masked model as ordinary tensors.
    path: a safetensors file to which the update is also saved.
    settings: the options of ``fedicu mask --set``: mask="top=0.1", beta=0.9, importance="rank".
    """
    native = _native.library()
    names = list(global_model)
    with owned_by("The global model"):
        received = Borrowed(global_model)
        keeps = keep_momentum or momentum is not None
        new_momentum = {name: momentum_like(value) for name, value in global_model.items()} if keeps else {}
    with owned_by("The local model"):
        trained = Borrowed(local, order=names)
    with owned_by("The momentum"):
        kept = None if momentum is None else Borrowed(momentum, order=names)
    outputs = Borrowed(new_momentum, writable=True) if new_momentum else None
    options = _native.options_json(threads=threads, round=round, dense=dense, settings=settings_as_text(settings))
    handle = native.new(
        "mask", options, received.count, received.array, trained.array, kept and kept.array, outputs and outputs.array)
    try:
        tensors, dtypes = copy_model(native, handle)
        if path is not None:
            with owned_by("The update"):
                native.call("update_save", handle, encode_path(path))
        return MaskedUpdate(tensors, dtypes, json.loads(native.text("update_metadata_json", handle)), new_momentum)
    finally:
        native.call("update_destroy", handle)


def proximal(mu: float, local: Tensors, global_model: Tensors, gradients: Tensors | None = None) -> float:
    """Returns FedProx's term, mu/2 ||local - global||^2 over all tensors.

    gradients: if given, mu (local - global) is added to them in place.
    """
    native = _native.library()
    names = list(local)
    with owned_by("The local model"):
        y = Borrowed(local)
    with owned_by("The global model"):
        x = Borrowed(global_model, order=names)
    with owned_by("The gradients"):
        g = None if gradients is None else Borrowed(gradients, writable=True, order=names)
    total = 0.0
    for i in range(y.count):
        value = ctypes.c_double()
        gradient = None if g is None else ctypes.byref(g.array[i])
        native.call("proximal", mu, ctypes.byref(y.array[i]), ctypes.byref(x.array[i]), gradient, ctypes.byref(value))
        total += value.value
    return total
