"""Strategies for Flower that aggregate with FedICU.Core where Flower's FedAvg would, and a mod for its clients that sends what matters alone.

>>> from fedicu.flower import FedICU             # Flower's message API (flwr.serverapp)
>>> strategy = FedICU(fraction_train=0.5)        # was: FedAvg(fraction_train=0.5)

>>> from fedicu.flower import FedICUMod
>>> app = ClientApp(mods=[FedICUMod(mask="top=0.1")])

Everything but the aggregation is FedAvg's own: sampling, weighting key, metrics. Arrays are read where Flower received them, in numpy's format, without a copy.
"""

from __future__ import annotations

import functools
import io
import logging
import math
from typing import Any, Callable, Iterable, Mapping

import numpy as np

from . import Aggregator, InvalidArgumentError, Unreadable, Update, WrongStateError
from ._tensors import Bits, Unfit, native, shown, told, whose
from ._wire import check, included, masked, schema, unpack

__all__ = ["FedICU", "FedICUMod", "LegacyFedICU"]

_STYPE = "numpy.ndarray"
_MOMENTUM = "fedicu.momentum"
_BF16 = "bfloat16"
_log = logging.getLogger(__name__)


def _view(which: str, stype: Any, data: Any) -> np.ndarray:
    """The array in the bytes of numpy's save, where they lie. Raises :class:`Unfit`."""
    if stype != _STYPE:
        raise Unfit(f"{which} is serialized as {shown(stype)}; '{_STYPE}' was expected.")
    if not isinstance(data, (bytes, bytearray)):
        raise Unfit(f"{which} is a {type(data).__name__}; the bytes of an array were expected.")
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0), (3, 0)):
            raise ValueError(f"its format's version is {version}")
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(file)
        if dtype.hasobject:
            raise ValueError("it holds Python objects")
        if min(shape, default=0) < 0:
            raise ValueError(f"its shape is {shape}")
        count = math.prod(shape)
        more = len(data) - file.tell() - count * dtype.itemsize
        if more > 0:
            raise ValueError(f"{more} bytes follow the array")
        return np.frombuffer(data, dtype, count, file.tell()).reshape(shape, order="F" if fortran else "C")
    except Exception as error:  # numpy's parser raises errors of many kinds for bytes that are no header
        raise Unfit(f"{which}: its {len(data)} bytes are not an array as numpy saves it: {told(error)}.") from error


def _labelled(name: str, array: Any) -> np.ndarray | Bits:
    """The array in one of Flower's Arrays, whose label must say what its bytes do. Raises :class:`Unfit`.

    numpy has no bfloat16: that label goes with elements of 16 bits, uint16 or what numpy saves of ml_dtypes' arrays. Arrays made of numbered parameters have no label.
    """
    which = f"tensor {shown(name)}"
    view = _view(which, array.stype, array.data)
    shape, label = tuple(array.shape), str(array.dtype).removeprefix("torch.")
    if not label and not shape:
        return view
    if shape != view.shape:
        raise Unfit(f"{which} is labelled with the shape {shown(shape)}; its bytes have {view.shape}.")
    if label == _BF16 and (native(view.dtype) == np.uint16 or view.dtype == np.dtype("V2")):
        return Bits(view, "BF16")
    if label and label not in (view.dtype.name, str(view.dtype)) and not _is_named(label, view.dtype):
        raise Unfit(f"{which} is labelled {shown(array.dtype)}; its bytes are {view.dtype.name}.")
    return view


def _is_named(label: str, dtype: np.dtype) -> bool:
    """Whether one of numpy's other names for a type, '<f4' or 'double', stands for it."""
    try:
        named = np.dtype(label)
    except Exception:  # numpy's parser of such names raises errors of several kinds
        return False
    return named == dtype if label[:1] in "<>" else native(named) == native(dtype)


def _place(like: np.ndarray) -> tuple[bytearray, np.ndarray]:
    """Room for an array as numpy saves it, and the array in it."""
    dtype = native(like.dtype)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": like.shape})
    data = bytearray(header.tell() + like.size * dtype.itemsize)
    data[: header.tell()] = header.getvalue()
    return data, np.frombuffer(data, dtype, like.size, header.tell()).reshape(like.shape)


def _saved(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


class _Aggregating:
    """What both strategies add to Flower's own: the aggregator, and the model that the clients of a round were sent."""

    def __init__(self, *args: Any, aggregator: Aggregator | str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not (aggregator is None or isinstance(aggregator, (str, Aggregator))):
            raise InvalidArgumentError(f"aggregator is a {type(aggregator).__name__}; a fedicu.Aggregator or a strategy's name was expected.")
        self.aggregator = aggregator if isinstance(aggregator, Aggregator) else Aggregator(aggregator or "fedicu")
        self._received: Any = None

    def _aggregate(
        self, server_round: int, step: str, read: Callable[[Any], Mapping[str, np.ndarray | Bits]], replies: Iterable[tuple[str, Callable[[], tuple[Any, Any]]]],
    ) -> tuple[Mapping[str, np.ndarray | Bits], dict[str, bytes], set[str]]:
        """Aggregates a round.

        step: the strategy's method that is told the model which clients were sent. read: makes arrays of a model as Flower has it. replies: clients, and what gives their weights
        and models. Returns the model before the round, the next one's arrays as numpy saves them, and the clients that take part.
        """
        if self._received is None and self.aggregator.strategy != "fedavg":
            raise WrongStateError(f"The model that the clients trained is not known: {step} comes first.")
        with whose("The global model"):
            model = {} if self._received is None else read(self._received)
        updates = []
        for client, sent in replies:
            weight = None
            try:
                weight, parameters = sent()
                updates.append(Update(client, weight, unpack(read(parameters), model)))
            except Unfit as error:
                updates.append(Update(client, weight, Unreadable(str(error))))
            except Exception as error:  # a reply may hold anything, and none may end the others' round
                updates.append(Update(client, weight, Unreadable(f"its reply cannot be read: {type(error).__name__}: {told(error)}.")))
        if self._received is None:
            model = schema(update.model for update in sorted(updates, key=lambda update: update.client))
        places = {name: _place(array.array if isinstance(array, Bits) else array) for name, array in model.items()}
        out = {name: Bits(place, "BF16") if isinstance(model[name], Bits) else place for name, (_, place) in places.items()}
        self.aggregator.aggregate(model, updates, round=server_round, out=out)
        made = {}
        for name in list(places):
            data, place = places.pop(name)
            del place, out[name]
            made[name] = bytes(data)
        return model, made, included(self.aggregator, _log)


class _Missing:
    """A weight that a reply does not state."""

    def __repr__(self) -> str:
        return "missing"


def _counts(replies: int, takes_part: set[str]) -> dict[str, int]:
    return {"fedicu-included": len(takes_part), "fedicu-left-out": replies - len(takes_part)}


def _with_common_metrics(contents: list[Any]) -> list[Any]:
    """Takes out of the clients' metrics those that not all of them state in one form: no mean of them is possible."""
    records = [next(iter(content.metric_records.values())) for content in contents]
    forms = [{(name, len(value) if isinstance(value, list) else None) for name, value in record.items()} for record in records]
    odd = {name for name, _ in set().union(*forms) - set.intersection(*forms)}
    if odd:
        _log.warning("These metrics are left out, as not all clients state them in one form: %s", ", ".join(sorted(map(shown, odd))))
    for record in records:
        for name in odd & set(record):
            del record[name]
    return contents


class FedICUMod:
    """A client mod that sends, of what training changed, what matters more than what was received (``fedicu.mask``).

    settings: the options of ``fedicu mask --set``: mask="top=0.1", importance="rank"; threads. It serves training messages of both of Flower's APIs; the server's strategy must be
    :class:`FedICU` or :class:`LegacyFedICU`. keep_momentum: whether rounds before count too, by a momentum that stays in the client's context, "fedicu.momentum", in float32.
    Mods that change parameters come after it in the list.
    """

    def __init__(self, *, keep_momentum: bool = False, **settings: Any) -> None:
        check(settings, keep_momentum)
        self._keep_momentum, self._settings = keep_momentum, settings

    def __call__(self, message: Any, context: Any, call_next: Any) -> Any:
        if str(message.metadata.message_type).split(".")[0] != "train":
            return call_next(message, context)
        # the app may take the arrays out of the message
        received = _arrays(message)
        server_round = next((config["server-round"] for config in message.content.config_records.values() if "server-round" in config), None)
        reply = call_next(message, context)
        if reply.has_error():
            return reply
        trained = _arrays(reply)
        key = next(iter(reply.content.array_records))
        state = context.state.array_records
        kept = {name: array.numpy() for name, array in state[_MOMENTUM].items()} if self._keep_momentum and _MOMENTUM in state else None
        sent, momentum = masked(received, trained, kept, self._keep_momentum, server_round, self._settings)
        if self._keep_momentum:
            state[_MOMENTUM] = ArrayRecord({name: Array(array) for name, array in momentum.items()})
        reply.content.array_records[key] = ArrayRecord({
            name: Array(dtype=_BF16, shape=array.shape, stype=_STYPE, data=_saved(array.array)) if isinstance(array, Bits) else Array(array) for name, array in sent.items()})
        return reply


def _arrays(message: Any) -> dict[str, np.ndarray | Bits]:
    records = message.content.array_records
    if len(records) != 1:
        raise InvalidArgumentError(f"The message has {len(records)} ArrayRecords; one, the model, was expected.")
    with whose("The message"):
        return _record(next(iter(records.values())))


def _record(record: Mapping[str, Any]) -> dict[str, np.ndarray | Bits]:
    return {name: _labelled(name, array) for name, array in record.items()}


def _numbered(parameters: Any) -> dict[str, np.ndarray]:
    return {str(i): _view(f"tensor '{i}'", parameters.tensor_type, data) for i, data in enumerate(parameters.tensors)}


try:
    from flwr.common import Array, ArrayRecord, MetricRecord
    from flwr.serverapp.strategy import FedAvg
except ImportError:

    class FedICU:  # type: ignore[no-redef]
        """Needs Flower with its message API (1.21 or later)."""

        def __init__(self, *_: Any, **__: Any) -> None:
            raise ImportError("fedicu.flower.FedICU needs flwr with flwr.serverapp.strategy (Flower 1.21 or later).")

else:

    class FedICU(_Aggregating, FedAvg):  # type: ignore[no-redef]
        """Flower's FedAvg with FedICU.Core's aggregation.

        aggregator: an Aggregator, the name of a strategy, or None for "fedicu" with its defaults. Other arguments are FedAvg's. The metrics of a round are FedAvg's and
        fedicu-included, fedicu-left-out; all else is in aggregator.report.
        """

        def configure_train(self, server_round: int, arrays: Any, config: Any, grid: Any) -> Any:
            self._received = arrays
            return super().configure_train(server_round, arrays, config, grid)

        def aggregate_train(self, server_round: int, replies: Any) -> Any:
            # without Flower's comparison of the replies, which ends the run where one client's differ: the round's policies decide
            valid, _ = self._check_and_log_replies(replies, is_train=True, validate=False)
            if not valid:
                return None, None
            contents = [(str(message.metadata.src_node_id), message.content) for message in valid]
            model, made, takes_part = self._aggregate(
                server_round, "configure_train", _record, [(client, functools.partial(self._sent, content)) for client, content in contents])
            arrays = ArrayRecord({name: self._array(name, model[name], data) for name, data in made.items()})
            metrics = self.train_metrics_aggr_fn(_with_common_metrics([content for client, content in contents if client in takes_part]), self.weighted_by_key)
            return arrays, MetricRecord({**metrics, **_counts(len(contents), takes_part)})

        def _sent(self, content: Any) -> tuple[Any, Any]:
            for records, kind in ((content.array_records, "ArrayRecord"), (content.metric_records, "MetricRecord")):
                if len(records) != 1:
                    raise Unfit(f"its reply has {len(records)} {kind}s; one was expected.")
            metrics = next(iter(content.metric_records.values()))
            return metrics.get(self.weighted_by_key, _Missing()), next(iter(content.array_records.values()))

        def _array(self, name: str, like: np.ndarray | Bits, data: bytes) -> Any:
            """The result's array, labelled as the model's that clients were sent."""
            if self._received is not None and (isinstance(like, Bits) or like.dtype.isnative):
                label, shape = self._received[name].dtype, tuple(self._received[name].shape)
            else:
                label, shape = _BF16 if isinstance(like, Bits) else str(native(like.dtype)), like.shape
            return Array(dtype=label, shape=shape, stype=_STYPE, data=data)


try:
    from flwr.common import Parameters
    from flwr.server.strategy import FedAvg as _LegacyFedAvg
except ImportError:

    class LegacyFedICU:  # type: ignore[no-redef]
        """Needs Flower."""

        def __init__(self, *_: Any, **__: Any) -> None:
            raise ImportError("fedicu.flower.LegacyFedICU needs flwr.")

else:

    class LegacyFedICU(_Aggregating, _LegacyFedAvg):  # type: ignore[no-redef]
        """The same for Flower's older API (flwr.server.strategy): parameters are numbered, "0", "1", and so on."""

        def configure_fit(self, server_round: int, parameters: Any, client_manager: Any) -> Any:
            self._received = parameters
            return super().configure_fit(server_round, parameters, client_manager)

        def aggregate_fit(self, server_round: int, results: Any, failures: Any) -> Any:
            if not results or failures and not self.accept_failures:
                return None, {}
            answers = [(str(proxy.cid), result) for proxy, result in results]
            _, made, takes_part = self._aggregate(
                server_round, "configure_fit", _numbered, [(client, functools.partial(self._sent, result)) for client, result in answers])
            metrics: dict[str, Any] = {}
            if self.fit_metrics_aggregation_fn:
                metrics = self.fit_metrics_aggregation_fn([(result.num_examples, result.metrics) for client, result in answers if client in takes_part])
            return Parameters(tensors=list(made.values()), tensor_type=_STYPE), {**metrics, **_counts(len(answers), takes_part)}

        @staticmethod
        def _sent(result: Any) -> tuple[Any, Any]:
            return _Missing() if result.num_examples is None else result.num_examples, result.parameters
