"""The server's side: aggregators and their rounds."""

from __future__ import annotations

import json
import numbers
import os
import threading
from typing import Any, Iterable, Mapping

import numpy as np

from . import _native
from ._adapters import split_adapter, take_adapter
from ._native import AbortedError, InvalidArgumentError, InvalidModelError, WrongStateError
from ._tensors import Borrowed, FileTensor, empty_like
from ._text import InvalidInput, describe_type, encode_path, encode_text, owned_by, show
from ._updates import STATEMENTS, Adapter, MaskedUpdate, Model, Unreadable, Update


class Aggregator:
    """A strategy with its options, which aggregates round after round.

    Rounds on several threads wait for each other. :meth:`abort` does not wait.

    strategy: one of :func:`strategies`, such as "fedicu", or several joined by commas: "krum,fedadam".
    state: the file in which a rule such as "fedadam" keeps its state between rounds. It is replaced with each new model.
        None keeps the state in memory, as long as the aggregator lives.
    state_out: a file that is written in place of state, which then must exist: for programs that run one round.
    threads: the number of compute threads; 0 means one per CPU.
    backend: "simd" (default), "auto", "cuda", "opencl" or "reference", if the library has it.
    statistics: whether the report includes norms and cosines.
    settings: the options of the command line's --set, with underscores for dashes: tau=0.5, on_nonfinite="drop-client".
        An option of one of several strategies is written **{"krum.byzantine": 1}.
    """

    def __init__(
        self,
        strategy: str = "fedicu",
        *,
        state: str | os.PathLike[str] | None = None,
        state_out: str | os.PathLike[str] | None = None,
        threads: int = 0,
        backend: str | None = None,
        statistics: bool = False,
        **settings: Any,
    ) -> None:
        self._handle = 0
        self.strategy = strategy
        self._settings = dict(settings)
        self._round = threading.Lock()
        self._aborted = False
        self._native = _native.library()
        options = _native.options_json(
            strategy=strategy, state=_as_path(state, "state"), stateOut=_as_path(state_out, "state_out"), threads=threads,
            backend=backend, statistics=statistics, settings=settings_as_text(settings))
        self._handle = self._native.new("create", options)

    def aggregate(
        self,
        global_model: Model | Adapter,
        updates: Iterable[Update | tuple[Any, ...]],
        *,
        round: int | None = None,
        out: Model | None = None,
    ) -> Any:
        """Aggregates a round and returns out.

        global_model: the model that the clients trained.
        updates: :class:`Update` or tuples (client, weight, model).
        round: the round's number, for the metadata and the report.
        out: tensors that receive the result, or a path, which is written whole or not at all. None makes new tensors
            like the global model's; for an adapter, a new :class:`Adapter` with the ranks that the strategy writes.

        Raises :class:`RoundRejectedError` if the policies refuse the round, other subclasses of :class:`FedIcuError`,
        and :class:`OSError`.
        """
        _require(
            isinstance(global_model, (Mapping, Adapter, str, os.PathLike)),
            f"The global model is {describe_type(global_model)}; a dict of tensors, an adapter or a path was expected.")
        in_files = isinstance(global_model, Mapping) and any(isinstance(value, FileTensor) for value in global_model.values())
        _require(
            out is not None or not in_files and not isinstance(global_model, (str, os.PathLike)),
            "out is missing: if the global model is in files, a path or tensors for the result were expected.")
        _require(
            out is None or isinstance(out, (Mapping, str, os.PathLike)),
            f"out is {describe_type(out)}; a dict of tensors or a path was expected.")
        valid = round is None or isinstance(round, numbers.Integral) and not isinstance(round, bool) and 0 <= round < 2**63
        _require(valid, f"round is {show(round)}; None or a whole number from 0 to 2^63 - 1 was expected.")
        with self._round:
            self._aborted = False
            try:
                return self._aggregate(global_model, updates, round, out)
            except WrongStateError as error:
                # an abort between two calls of this round leaves no round to go on with
                if self._aborted:
                    raise AbortedError("The round was aborted.") from error
                raise

    def _aggregate(
        self, global_model: Model | Adapter, updates: Iterable[Update | tuple[Any, ...]], round: int | None, out: Model | None
    ) -> Any:
        alive: list[Borrowed] = []
        self._native.call("begin_round", self._handle, -1 if round is None else int(round))
        try:
            with owned_by("The global model"):
                if isinstance(global_model, (Mapping, Adapter)):
                    tensors, config = split_adapter(global_model)
                    alive.append(Borrowed(tensors))
                    described = (alive[-1].count, alive[-1].array, _native.BORROW)
                    if config is None:
                        self._native.call("set_global", self._handle, *described)
                    else:
                        self._native.call("set_global_adapter", self._handle, config, *described)
                else:
                    self._native.call("set_global_file", self._handle, encode_path(global_model))
            for update in updates:
                update = update if isinstance(update, Update) else _from_tuple(update)
                _require(
                    isinstance(update.client, str) and update.client != "",
                    f"A client's name is {show(update.client)}; text was expected.")
                with owned_by("A round's clients"):
                    client = encode_text(update.client, "a client's name")
                try:
                    self._add(client, update, alive)
                except (InvalidInput, InvalidModelError, OSError) as error:
                    self._native.call("add_fault", self._handle, client, _native.UNREADABLE, _encode_reason(error))
            with owned_by("The result"):
                if out is None and isinstance(global_model, Adapter):
                    return take_adapter(self._native, self._native.new("finish_model", self._handle), global_model)
                if out is None:
                    out = {name: empty_like(value) for name, value in global_model.items()}  # type: ignore[union-attr]
                if isinstance(out, Mapping):
                    outputs = Borrowed(out, writable=True)
                    self._native.call("finish", self._handle, outputs.count, outputs.array)
                else:
                    self._native.call("finish_file", self._handle, encode_path(out))
            return out
        except BaseException:
            # the library must drop the borrowed tensors before Python may free them
            self._native.call("abort", self._handle)
            raise

    def _add(self, client: bytes, update: Update, alive: list[Borrowed]) -> None:
        """Adds a client's update. Raises if there is nothing that can be added."""
        model, tensors, config, metadata, path = update.model, None, None, None, None
        if isinstance(model, MaskedUpdate):
            metadata = _encode_metadata(model.metadata)
            tensors = Borrowed(model.tensors, dtypes=model.dtypes, lenient=True)
        elif isinstance(model, (Mapping, Adapter)):
            model, config = split_adapter(model)
            tensors = Borrowed(model, lenient=True)
        elif isinstance(model, (str, os.PathLike)):
            path = encode_path(model)
        elif isinstance(model, Unreadable):
            raise InvalidInput(model.reason)
        else:
            raise InvalidInput(
                f"its model is {describe_type(model)}; a dict of tensors, an adapter, a masked update or a path was expected.")
        weight, fault = _read_weight(update.weight)
        if fault is not None:
            self._native.call("add_fault", self._handle, client, _native.WEIGHT, _encode_reason(fault))
            return
        stated = _read_statements(update)
        control = None
        if isinstance(update.control, Mapping):
            control = Borrowed(update.control, lenient=True)
            alive.append(control)
        elif update.control is not None:
            stated["control"] = encode_path(update.control).decode()
        if path is not None:
            self._native.call("add_file", self._handle, client, weight, path)
        elif tensors is not None:
            alive.append(tensors)
            if metadata is not None:
                self._native.call(
                    "add_update", self._handle, client, weight, metadata, tensors.count, tensors.array, _native.BORROW)
            else:
                flags = _native.BORROW | (_native.DELTA if update.delta else 0)
                flags |= _native.UNWEIGHTED if update.weight is None else 0
                described = (tensors.count, tensors.array, flags)
                if config is None:
                    self._native.call("add", self._handle, client, weight, *described)
                else:
                    self._native.call("add_adapter", self._handle, client, weight, config, *described)
        if stated:
            self._native.call("set_statements", self._handle, client, json.dumps(stated).encode())
        if control is not None:
            self._native.call("set_control", self._handle, client, control.count, control.array, _native.BORROW)

    @property
    def report(self) -> dict[str, Any]:
        """The report of the last round with a result: each client's weight, which clients were left out, and why."""
        report: dict[str, Any] = json.loads(self._native.text("report_json", self._handle))
        return report

    @property
    def state(self) -> str:
        """The strategy and the last round's number, in JSON. It can be set.

        It holds no tensors. A rule's own state is in the file that was given as state, or in memory. Then another
        aggregator refuses the text.
        """
        return self._native.text("export_state", self._handle)

    @state.setter
    def state(self, state: str) -> None:
        self._native.call("import_state", self._handle, state.encode())

    @property
    def proximal_mu(self) -> float | None:
        """The strength of the clients' proximal term: the option mu of fedprox; None if that is not one of the strategies."""
        if "fedprox" not in (name.strip() for name in self.strategy.split(",")):
            return None
        stated = next((self._settings[name] for name in ("fedprox.mu", "mu") if name in self._settings), None)
        if stated is None:
            known = json.loads(self._native.text("strategies"))["strategies"]
            options = next(strategy["options"] for strategy in known if strategy["name"] == "fedprox")
            stated = next(option["default"] for option in options if option["name"] == "mu")
        return float(stated)

    def abort(self) -> None:
        """Ends a round that runs on another thread, which then raises :class:`AbortedError`."""
        self._aborted = True
        self._native.call("abort", self._handle)

    def close(self) -> None:
        """Frees the aggregator. Later calls raise :class:`InvalidArgumentError`."""
        handle, self._handle = self._handle, 0
        if handle:
            self._native.call("destroy", handle)

    def __repr__(self) -> str:
        settings = "".join(f", {name}={value!r}" for name, value in self._settings.items())
        return f"Aggregator({self.strategy!r}{settings}){'' if self._handle else ' (closed)'}"

    def __enter__(self) -> "Aggregator":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_handle", 0):
            self.close()


def settings_as_text(settings: Mapping[str, Any]) -> dict[str, str]:
    """Converts Python's names and values to those of --set."""
    return {key.replace("_", "-"): str(value).lower() if isinstance(value, bool) else str(value) for key, value in settings.items()}


def _as_path(path: Any, name: str) -> str | None:
    """Returns a path for the JSON options."""
    _require(path is None or isinstance(path, (str, os.PathLike)), f"{name} is {show(path)}; a path was expected.")
    with owned_by(name):
        return None if path is None else encode_path(path).decode()


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise InvalidArgumentError(message)


def _from_tuple(given: Any) -> Update:
    """Makes an update of a tuple (name, weight, model)."""
    # the fourth entry is delta
    if not isinstance(given, (tuple, list)) or not 3 <= len(given) <= 4:
        stated = f"a tuple of {len(given)}" if isinstance(given, tuple) else describe_type(given)
        raise InvalidArgumentError(f"A client's update is {stated}; an Update or (name, weight, model) was expected.")
    return Update(*given)


def _read_weight(stated: Any) -> tuple[float, str | None]:
    """Returns the weight for the library, and why the stated one cannot be used. NaN means that none is stated."""
    if stated is None:
        return float("nan"), None
    if isinstance(stated, np.ndarray) and stated.ndim == 0:
        stated = stated.item()
    if isinstance(stated, bool) or not isinstance(stated, numbers.Real) or stated != stated:
        return 0.0, f"its weight is {show(stated)}; the number of its examples was expected."
    try:
        return float(stated), None
    except OverflowError:
        return 0.0, f"its weight is {show(stated)}, which float64 cannot hold; the number of its examples was expected."


def _read_statements(update: Update) -> dict[str, str]:
    """Returns what a client states, as the texts that the library reads as numbers."""
    stated = {}
    for key in STATEMENTS:
        value = getattr(update, key)
        if isinstance(value, np.ndarray) and value.ndim == 0:
            value = value.item()
        if value is None:
            continue
        if isinstance(value, str):
            # in double quotes, so that the library takes no text for a number and shows what it is
            stated[key] = json.dumps(value)
            continue
        is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
        try:
            stated[key] = repr(float(value)) if is_number else show(value)
        except OverflowError:
            stated[key] = show(value)
    return stated


def _encode_metadata(metadata: Any) -> bytes:
    """Encodes a masked update's metadata as JSON."""
    if not isinstance(metadata, Mapping):
        raise InvalidInput(f"its metadata is {describe_type(metadata)}; a dict of strings was expected.")
    for key, value in metadata.items():
        encode_text(key, "a key of its metadata")
        encode_text(value, f"its metadata's '{key}'")
    return json.dumps(dict(metadata)).encode()


def _encode_reason(reason: Any) -> bytes:
    return str(reason).replace("\0", "\\0").encode("utf-8", "replace")
