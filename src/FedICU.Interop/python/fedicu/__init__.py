"""FedICU.Core's federated-learning aggregators for Python.

>>> aggregator = fedicu.Aggregator("fedicu", tau=0.5)
>>> model = aggregator.aggregate(model, [("hospital", 120, update_a), ("law firm", 80, update_b)])
>>> aggregator.report["clients"][0]["share"]

Models are dicts of numpy arrays, torch tensors or tensors of safetensors files (:class:`FileTensor`), taken where they lie, or paths of safetensors files or folders, of which
no more than a panel is in memory at once.
"""

from __future__ import annotations

import ctypes
import dataclasses
import json
import numbers
import os
import threading
from typing import Any, Iterable, Mapping, Union

import numpy as np

from . import _native
from ._native import (
    AbortedError,
    FedIcuError,
    InvalidArgumentError,
    InvalidModelError,
    InvalidOptionsError,
    RoundRejectedError,
    WrongStateError,
)
from ._tensors import Borrowed, FileTensor, Unfit, copy_of, empty_like, momentum_like, path_bytes, shown, text_bytes, whose

__all__ = [
    "AbortedError", "Aggregator", "FedIcuError", "FileTensor", "InvalidArgumentError", "InvalidModelError", "InvalidOptionsError", "MaskedUpdate", "RoundRejectedError",
    "Unreadable", "Update", "WrongStateError", "live_handles", "mask", "proximal",
]

Tensors = Mapping[str, Any]
Model = Union[Tensors, str, "os.PathLike[str]"]

_lock = threading.Lock()
_library: _native.Library | None = None


def _native_library() -> _native.Library:
    global _library
    with _lock:
        _library = _library or _native.load()
        return _library


def live_handles() -> int:
    """Aggregators and updates that the library holds: for tests that nothing leaks."""
    return _native_library().live_handles()


@dataclasses.dataclass(frozen=True)
class MaskedUpdate:
    """A client's sparse update: tensors with packed values and masks (bf16 as uint16), the types that they have, metadata, and the new momentum, which stays with the client."""

    tensors: Mapping[str, np.ndarray]
    dtypes: Mapping[str, str]
    metadata: Mapping[str, str]
    momentum: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False)


@dataclasses.dataclass(frozen=True)
class Unreadable:
    """Stands for a client's model that is no model, so that on_unreadable decides what becomes of the round. reason: a sentence that begins after the client's name."""

    reason: str


@dataclasses.dataclass(frozen=True)
class Update:
    """What a client sent. What is wrong with it falls under the round's policies, whatever it is.

    client: its name, unique in a round. weight: the number of its examples; None takes what the metadata of a file or a masked update say, otherwise 1. model: tensors, a masked
    update, a path, or :class:`Unreadable`. delta: whether tensors are y - x, what training changed, and not parameters y; files and masked updates say so themselves.
    """

    client: str
    weight: float | None
    model: Model | MaskedUpdate | Unreadable
    delta: bool = False


class Aggregator:
    """A strategy with its options, which aggregates round after round. Rounds of several threads wait for each other; :meth:`abort` waits for none.

    strategy: "fedavg", "fedprox", "fedicu". settings: the options of the command line's --set, dashes as underscores: tau=0.5, on_nonfinite="drop-client".
    threads: how many compute, 0 one for each processor. backend: "simd" (default), "auto", "cuda", "opencl", "reference", where the library has them.
    statistics: whether the report has norms and cosines.
    """

    def __init__(self, strategy: str = "fedicu", *, threads: int = 0, backend: str | None = None, statistics: bool = False, **settings: Any) -> None:
        self._handle = 0
        self.strategy = strategy
        self._round = threading.Lock()
        self._aborted = False
        self._native = _native_library()
        options = _native.settings_json(
            strategy=strategy, threads=threads, backend=backend, statistics=statistics, settings=_texts(settings))
        self._handle = self._native.new("create", options)

    def aggregate(self, global_model: Model, updates: Iterable[Update | tuple[Any, ...]], *, round: int | None = None, out: Model | None = None) -> Any:
        """Aggregates a round.

        global_model: the model that the clients trained. updates: :class:`Update` or tuples (client, weight, model). round: its number, for metadata and report.
        out: tensors to write to, or a path, written whole or not at all; None makes new tensors as the global model's are.
        Returns out. Raises :class:`RoundRejectedError` where the policies refuse the round, other subclasses of :class:`FedIcuError`, :class:`OSError`.
        """
        _require(isinstance(global_model, (Mapping, str, os.PathLike)), f"The global model is a {type(global_model).__name__}; a dict of tensors or a path was expected.")
        if out is None and (not isinstance(global_model, Mapping) or any(isinstance(value, FileTensor) for value in global_model.values())):
            raise InvalidArgumentError("out is missing: the result of a model in files goes to a path or to tensors that are given.")
        _require(out is None or isinstance(out, (Mapping, str, os.PathLike)), f"out is a {type(out).__name__}; a dict of tensors or a path was expected.")
        valid = round is None or isinstance(round, numbers.Integral) and not isinstance(round, bool) and 0 <= round < 2**63
        _require(valid, f"round is {shown(round)}; None or a whole number from 0 to 2^63 - 1 was expected.")
        with self._round:
            self._aborted = False
            try:
                return self._aggregate(global_model, updates, round, out)
            except WrongStateError as error:
                if self._aborted:
                    raise AbortedError("The round was aborted.") from error
                raise

    def _aggregate(self, global_model: Model, updates: Iterable[Update | tuple[Any, ...]], round: int | None, out: Model | None) -> Any:
        alive: list[Borrowed] = []
        self._native.call("begin_round", self._handle, -1 if round is None else int(round))
        try:
            with whose("The global model"):
                if isinstance(global_model, Mapping):
                    alive.append(Borrowed(global_model))
                    self._native.call("set_global", self._handle, alive[-1].count, alive[-1].array, _native.BORROW)
                else:
                    self._native.call("set_global_file", self._handle, path_bytes(global_model))
            for update in updates:
                update = update if isinstance(update, Update) else Update(*update)
                _require(isinstance(update.client, str) and update.client != "", f"A client's name is {shown(update.client)}; text was expected.")
                with whose("A round's clients"):
                    client = text_bytes(update.client, "a client's name")
                try:
                    self._add(client, update, alive)
                except (Unfit, InvalidModelError, OSError) as error:
                    self._native.call("add_fault", self._handle, client, _native.UNREADABLE, _sentence(error))
            with whose("The result"):
                if out is None:
                    out = {name: empty_like(value) for name, value in global_model.items()}  # type: ignore[union-attr]
                if isinstance(out, Mapping):
                    places = Borrowed(out, writable=True)
                    self._native.call("finish", self._handle, places.count, places.array)
                else:
                    self._native.call("finish_file", self._handle, path_bytes(out))
            return out
        except BaseException:
            # what was borrowed is let go before its memory may be
            self._native.call("abort", self._handle)
            raise

    def _add(self, client: bytes, update: Update, alive: list[Borrowed]) -> None:
        """Adds a client's update. Raises where there is nothing to be added."""
        model, tensors, metadata, path = update.model, None, None, None
        if isinstance(model, MaskedUpdate):
            metadata = _metadata(model.metadata)
            tensors = Borrowed(model.tensors, dtypes=model.dtypes, lenient=True)
        elif isinstance(model, Mapping):
            tensors = Borrowed(model, lenient=True)
        elif isinstance(model, (str, os.PathLike)):
            path = path_bytes(model)
        else:
            raise Unfit(model.reason if isinstance(model, Unreadable) else f"its model is a {type(model).__name__}; a dict of tensors, a masked update or a path was expected.")
        weight, fault = _weight(update.weight)
        if fault is not None:
            self._native.call("add_fault", self._handle, client, _native.WEIGHT, _sentence(fault))
        elif path is not None:
            self._native.call("add_file", self._handle, client, weight, path)
        elif tensors is not None:
            alive.append(tensors)
            if metadata is not None:
                self._native.call("add_update", self._handle, client, weight, metadata, tensors.count, tensors.array, _native.BORROW)
            else:
                flags = _native.BORROW | (_native.DELTA if update.delta else 0)
                self._native.call("add", self._handle, client, 1.0 if update.weight is None else weight, tensors.count, tensors.array, flags)

    @property
    def report(self) -> dict[str, Any]:
        """The report of the last round that had a result: what each client weighed, which were left out and why."""
        return json.loads(self._native.text("report_json", self._handle))

    @property
    def state(self) -> str:
        """What must be remembered from round to round, in JSON; may be set."""
        return self._native.text("export_state", self._handle)

    @state.setter
    def state(self, state: str) -> None:
        self._native.call("import_state", self._handle, state.encode())

    def abort(self) -> None:
        """Ends a round under way on another thread, with :class:`AbortedError` there."""
        self._aborted = True
        self._native.call("abort", self._handle)

    def close(self) -> None:
        """Frees the aggregator; later calls raise :class:`InvalidArgumentError`."""
        handle, self._handle = self._handle, 0
        if handle:
            self._native.call("destroy", handle)

    def __enter__(self) -> "Aggregator":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_handle", 0):
            self.close()


def mask(
    global_model: Tensors, local: Tensors, momentum: Tensors | None = None, *, keep_momentum: bool = False, threads: int = 0, round: int | None = None, dense: bool = False,
    path: str | os.PathLike[str] | None = None, **settings: Any,
) -> MaskedUpdate:
    """Makes the update that a client sends: of what training changed, what matters more than what was received.

    keep_momentum: whether the update has a momentum for the next call, where it is given as momentum; implied by it. Without, this round's change alone decides.
    settings: the options of ``fedicu mask --set``: mask="top=0.1", beta=0.9, importance="rank".
    path: also saves it as a safetensors file. A server's :meth:`Aggregator.aggregate` takes the update or the path.
    """
    native = _native_library()
    names = list(global_model)
    with whose("The global model"):
        received = Borrowed(global_model)
        new_momentum = {name: momentum_like(value) for name, value in global_model.items()} if keep_momentum or momentum is not None else {}
    with whose("The local model"):
        trained = Borrowed(local, order=names)
    with whose("The momentum"):
        kept = None if momentum is None else Borrowed(momentum, order=names)
    places = Borrowed(new_momentum, writable=True) if new_momentum else None
    options = _native.settings_json(threads=threads, round=round, dense=dense, settings=_texts(settings))
    handle = native.new("mask", options, received.count, received.array, trained.array, kept and kept.array, places and places.array)
    try:
        count = ctypes.c_int64()
        native.call("update_count", handle, ctypes.byref(count))
        tensors, dtypes = {}, {}
        for i in range(count.value):
            tensor = _native.Tensor()
            native.call("update_tensor", handle, i, ctypes.byref(tensor))
            name = tensor.name.decode()
            tensors[name], dtypes[name] = copy_of(tensor), tensor.dtype.decode()
        if path is not None:
            with whose("The update"):
                native.call("update_save", handle, path_bytes(path))
        return MaskedUpdate(tensors, dtypes, json.loads(native.text("update_metadata_json", handle)), new_momentum)
    finally:
        native.call("update_destroy", handle)


def proximal(mu: float, local: Tensors, global_model: Tensors, gradients: Tensors | None = None) -> float:
    """FedProx: mu/2 ||local - global||^2 over all tensors; adds mu (local - global) to the gradients, in place, where they are given."""
    native = _native_library()
    names = list(local)
    with whose("The local model"):
        y = Borrowed(local)
    with whose("The global model"):
        x = Borrowed(global_model, order=names)
    with whose("The gradients"):
        gradient = None if gradients is None else Borrowed(gradients, writable=True, order=names)
    total = 0.0
    for i in range(y.count):
        value = ctypes.c_double()
        native.call(
            "proximal", mu, ctypes.byref(y.array[i]), ctypes.byref(x.array[i]), None if gradient is None else ctypes.byref(gradient.array[i]), ctypes.byref(value))
        total += value.value
    return total


def _require(holds: bool, sentence: str) -> None:
    if not holds:
        raise InvalidArgumentError(sentence)


def _weight(stated: Any) -> tuple[float, str | None]:
    """The weight for the library, not a number where none is stated, and why what is stated is no number, if it is none."""
    if stated is None:
        return float("nan"), None
    if isinstance(stated, np.ndarray) and stated.ndim == 0:
        stated = stated.item()
    if isinstance(stated, bool) or not isinstance(stated, numbers.Real) or stated != stated:
        return 0.0, f"its weight is {shown(stated)}; the number of its examples was expected."
    try:
        return float(stated), None
    except OverflowError:
        return 0.0, f"its weight is {shown(stated)}, which no float64 holds; the number of its examples was expected."


def _metadata(metadata: Any) -> bytes:
    """A masked update's metadata in JSON."""
    if not isinstance(metadata, Mapping):
        raise Unfit(f"its metadata is a {type(metadata).__name__}; a dict of strings was expected.")
    for key, value in metadata.items():
        text_bytes(key, "a key of its metadata")
        text_bytes(value, f"its metadata's '{key}'")
    return json.dumps(dict(metadata)).encode()


def _sentence(reason: Any) -> bytes:
    return str(reason).replace("\0", "\\0").encode("utf-8", "replace")


def _texts(settings: Mapping[str, Any]) -> dict[str, str]:
    """Python's names and values as --set has them."""
    return {key.replace("_", "-"): str(value).lower() if isinstance(value, bool) else str(value) for key, value in settings.items()}
