"""Strategies for Flower that aggregate with FedICU.Core where Flower's FedAvg would, and a mod for its clients that sends what matters alone.

>>> from fedicu.flower import FedICU             # Flower's message API (flwr.serverapp)
>>> strategy = FedICU(fraction_train=0.5)        # was: FedAvg(fraction_train=0.5)

>>> from fedicu.flower import FedICUMod
>>> app = ClientApp(mods=[FedICUMod(mask="top=0.1")])

Everything but the aggregation is FedAvg's own: sampling, weighting key, metrics. Arrays are read where Flower received them, in numpy's format, without a copy.
"""

from __future__ import annotations

import io
import math
from typing import Any, Iterable, Mapping

import numpy as np

from . import Aggregator, InvalidArgumentError, WrongStateError
from ._wire import check, masked, unpack

__all__ = ["FedICU", "FedICUMod", "LegacyFedICU"]

_STYPE = "numpy.ndarray"
_MOMENTUM = "fedicu.momentum"


def _view(what: str, data: bytes) -> np.ndarray:
    """The array in the bytes of numpy's save, where they lie. what: whose tensor it is, for the sentence."""
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(file)
        if dtype.hasobject:
            raise ValueError("it holds Python objects")
        if min(shape, default=0) < 0:
            raise ValueError(f"its shape is {shape}")
        return np.frombuffer(data, dtype, math.prod(shape), file.tell()).reshape(shape, order="F" if fortran else "C")
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidArgumentError(f"{what}: its {len(data)} bytes are not an array as numpy saves it: {error}.") from error


def _views(arrays: Mapping[str, bytes], client: str | None = None) -> dict[str, np.ndarray]:
    return {name: _view(f"Tensor '{name}'" if client is None else f"Client '{client}', tensor '{name}'", data) for name, data in arrays.items()}


def _place(like: np.ndarray) -> tuple[bytearray, np.ndarray]:
    """Room for an array as numpy saves it, and the array in it."""
    dtype = like.dtype.newbyteorder("=")
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": like.shape})
    data = bytearray(header.tell() + like.size * dtype.itemsize)
    data[: header.tell()] = header.getvalue()
    return data, np.frombuffer(data, dtype, like.size, header.tell()).reshape(like.shape)


class _Aggregating:
    """What both strategies add to Flower's own: the aggregator, and the model that the clients of a round were sent."""

    def _model(self, first: Any, step: str) -> Any:
        """The model that clients were sent; FedAvg, which asks it for names and shapes alone, takes those of the first reply where there is none."""
        if self._received is None and self.aggregator.strategy != "fedavg":
            raise WrongStateError(f"The model that the clients trained is not known: {step}.")
        return first if self._received is None else self._received

    def __init__(self, *args: Any, aggregator: Aggregator | str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not (aggregator is None or isinstance(aggregator, (str, Aggregator))):
            raise InvalidArgumentError(f"aggregator is a {type(aggregator).__name__}; a fedicu.Aggregator or a strategy's name was expected.")
        self.aggregator = aggregator if isinstance(aggregator, Aggregator) else Aggregator(aggregator or "fedicu")
        self._received: Any = None


def _aggregate(
    aggregator: Aggregator, server_round: int, received: Mapping[str, bytes], known: bool, replies: Iterable[tuple[str, float, Mapping[str, bytes]]],
) -> dict[str, bytes]:
    model = _views(received)
    updates = [(client, weight, unpack(client, _views(tensors, client), model if known else {})) for client, weight, tensors in replies]
    places = {name: _place(array) for name, array in model.items()}
    aggregator.aggregate(model, updates, round=server_round, out={name: array for name, (_, array) in places.items()})
    made = {}
    for name in list(places):
        data, array = places.pop(name)
        del array
        made[name] = bytes(data)
    return made


def _metrics(aggregator: Aggregator) -> dict[str, int]:
    clients = aggregator.report["clients"]
    included = sum(client["included"] for client in clients)
    return {"fedicu-included": included, "fedicu-left-out": len(clients) - included}


def _checked(stype: str, data: bytes, what: str) -> bytes:
    if stype != _STYPE:
        raise InvalidArgumentError(f"{what} is serialized as '{stype}'; '{_STYPE}' was expected.")
    return data


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
        reply.content.array_records[key] = ArrayRecord({name: Array(array) for name, array in sent.items()})
        return reply


def _arrays(message: Any) -> dict[str, np.ndarray]:
    records = message.content.array_records
    if len(records) != 1:
        raise InvalidArgumentError(f"The message has {len(records)} ArrayRecords; one, the model, was expected.")
    return _views({name: _checked(array.stype, array.data, f"Tensor '{name}'") for name, array in next(iter(records.values())).items()})


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
            valid, _ = self._check_and_log_replies(replies, is_train=True)
            if not valid:
                return None, None
            model = self._model(next(iter(valid[0].content.array_records.values())), "configure_train comes before aggregate_train")
            updates = []
            for message in valid:
                record = next(iter(message.content.array_records.values()))
                weight = next(iter(message.content.metric_records.values()))[self.weighted_by_key]
                client = str(message.metadata.src_node_id)
                updates.append((client, float(weight), {name: _checked(array.stype, array.data, f"Client '{client}', tensor '{name}'") for name, array in record.items()}))
            made = _aggregate(
                self.aggregator, server_round, {name: _checked(array.stype, array.data, f"Tensor '{name}'") for name, array in model.items()}, self._received is not None, updates)
            arrays = ArrayRecord()
            for name, data in made.items():
                like = model[name]
                arrays[name] = Array(dtype=like.dtype, shape=tuple(like.shape), stype=_STYPE, data=data)
            metrics = self.train_metrics_aggr_fn([message.content for message in valid], self.weighted_by_key)
            return arrays, MetricRecord({**metrics, **_metrics(self.aggregator)})


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
            model = self._model(results[0][1].parameters, "configure_fit comes before aggregate_fit")
            updates = [(str(proxy.cid), float(result.num_examples), self._numbered(result.parameters)) for proxy, result in results]
            made = _aggregate(self.aggregator, server_round, self._numbered(model), self._received is not None, updates)
            metrics: dict[str, Any] = {}
            if self.fit_metrics_aggregation_fn:
                metrics = self.fit_metrics_aggregation_fn([(result.num_examples, result.metrics) for _, result in results])
            return Parameters(tensors=list(made.values()), tensor_type=_STYPE), {**metrics, **_metrics(self.aggregator)}

        @staticmethod
        def _numbered(parameters: Any) -> dict[str, bytes]:
            return {str(i): _checked(parameters.tensor_type, data, f"Tensor '{i}'") for i, data in enumerate(parameters.tensors)}
