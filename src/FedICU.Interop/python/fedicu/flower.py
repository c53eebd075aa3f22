"""Flower strategies that aggregate with FedICU.Core, and a client mod that sends only the important values.

>>> from fedicu.flower import FedICU             # Flower's message API (flwr.serverapp)
>>> strategy = FedICU(fraction_train=0.5)        # instead of FedAvg(fraction_train=0.5)

>>> from fedicu.flower import FedICUMod
>>> app = ClientApp(mods=[FedICUMod(mask="top=0.1")])

Everything except the aggregation is Flower's FedAvg: sampling, weighting key, metrics. Arrays are read in numpy's format
where Flower received them, without a copy.
"""

from __future__ import annotations

import functools
import json
import logging
from typing import Any, Callable, Iterable, Mapping

import numpy as np

from . import _npy
from ._adapters import adapt
from ._aggregator import Aggregator
from ._native import InvalidArgumentError, WrongStateError
from ._tensors import Bits, native_order
from ._text import InvalidInput, encode_config, owned_by, show, show_error
from ._updates import Adapter, MaskedUpdate, Unreadable, Update
from ._wire import check_settings, included_clients, mask_and_pack, most_common_form, unpack

__all__ = ["ADAPTER_CONFIG", "FedICU", "FedICUMod", "LegacyFedICU"]

# the key of a ConfigRecord that holds an adapter's configuration as JSON text
ADAPTER_CONFIG = "adapter-config"
# the record of the client's context that holds the momentum
_MOMENTUM = "fedicu.momentum"
_log = logging.getLogger(__name__)


class _Aggregating:
    """What both strategies add to Flower's: the aggregator, and the model that the clients of a round received."""

    # the configuration of the adapter that is aggregated; None if the model is none
    adapter_config: Mapping[str, Any] | None = None

    def __init__(self, *args: Any, aggregator: Aggregator | str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not (aggregator is None or isinstance(aggregator, (str, Aggregator))):
            raise InvalidArgumentError(
                f"aggregator is a {type(aggregator).__name__}; a fedicu.Aggregator or a strategy's name was expected.")
        self.aggregator = aggregator if isinstance(aggregator, Aggregator) else Aggregator(aggregator or "fedicu")
        self._received: Any = None

    def _aggregate(
        self,
        server_round: int,
        step: str,
        read: Callable[[Any], Mapping[str, NDArray | Bits]],
        replies: Iterable[tuple[str, Callable[[], tuple[Any, Any, Mapping[str, Any] | None]]]],
    ) -> tuple[Mapping[str, NDArray | Bits], dict[str, bytes], set[str]]:
        """Aggregates a round.

        step: the name of the strategy's method that receives the clients' model, for an error.
        read: converts one of Flower's models to arrays.
        replies: the clients, each with a function that returns its weight, its model and an adapter's configuration.

        Returns the new model's arrays, the same as numpy saves them, and the clients that take part.
        """
        if self._received is None and self.aggregator.strategy != "fedavg":
            raise WrongStateError(f"The model that the clients trained is not known: {step} must be called first.")
        with owned_by("The global model"):
            model = {} if self._received is None else read(self._received)
        updates = []
        for client, open_reply in replies:
            weight = None
            try:
                weight, parameters, config = open_reply()
                sent = unpack(read(parameters), model)
                is_adapter = config is not None and not isinstance(sent, MaskedUpdate)
                updates.append(Update(client, weight, Adapter(sent, config) if is_adapter else sent))
            except InvalidInput as error:
                updates.append(Update(client, weight, Unreadable(str(error))))
            except Exception as error:  # a reply may hold anything; the round must go on without it
                reason = f"its reply cannot be read: {type(error).__name__}: {show_error(error)}."
                updates.append(Update(client, weight, Unreadable(reason)))
        if self._received is None:
            model = most_common_form(update.model for update in sorted(updates, key=lambda update: update.client))
        if self.adapter_config is not None:
            # the ranks of the result may be others
            adapter = self.aggregator.aggregate(Adapter(model, self.adapter_config), updates, round=server_round)
            self.adapter_config = adapter.adapter_config
            made = {name: _npy.save(array.array if isinstance(array, Bits) else array) for name, array in adapter.tensors.items()}
            return adapter.tensors, made, included_clients(self.aggregator, _log)
        # written in place: the result's arrays lie in the bytes that Flower sends
        outputs = {name: _npy.allocate(array.array if isinstance(array, Bits) else array) for name, array in model.items()}
        out = {name: Bits(array, "BF16") if isinstance(model[name], Bits) else array for name, (_, array) in outputs.items()}
        self.aggregator.aggregate(model, updates, round=server_round, out=out)
        made = {}
        for name in list(outputs):
            # free each array before the next is copied
            data, array = outputs.pop(name)
            del array, out[name]
            made[name] = bytes(data)
        return model, made, included_clients(self.aggregator, _log)


def _config_of(records: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Returns the adapter's configuration in a message's ConfigRecords; None if it states none."""
    text = next((record[ADAPTER_CONFIG] for record in records if ADAPTER_CONFIG in record), None)
    if text is None:
        return None
    try:
        config = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"its {ADAPTER_CONFIG} is not JSON: {show_error(error)}.") from error
    if not isinstance(config, dict):
        raise InvalidInput(f"its {ADAPTER_CONFIG} is {show(text)}; a JSON object was expected.")
    return config


class _Missing:
    """The weight of a reply that states none. It shows as "missing" in messages."""

    def __repr__(self) -> str:
        return "missing"


def _counts(replies: int, included: set[str]) -> dict[str, int]:
    return {"fedicu-included": len(included), "fedicu-left-out": replies - len(included)}


def _keep_common_metrics(contents: list[Any]) -> list[Any]:
    """Removes the clients' metrics that not all of them have in the same form, since they have no mean."""
    records = [next(iter(content.metric_records.values())) for content in contents]
    forms = [{(name, len(value) if isinstance(value, list) else None) for name, value in record.items()} for record in records]
    odd = {name for name, _ in set().union(*forms) - set.intersection(*forms)}
    if odd:
        names = ", ".join(sorted(map(show, odd)))
        _log.warning("These metrics are left out because not all clients have them in the same form: %s", names)
    for record in records:
        for name in odd & set(record):
            del record[name]
    return contents


class FedICUMod:
    """A client mod that sends the trained values that are more important than the received ones (``fedicu.mask``).

    It changes the training messages of both of Flower's APIs. The server's strategy must be :class:`FedICU` or
    :class:`LegacyFedICU`. In the list of mods, mods that change parameters must come after it.

    keep_momentum: whether earlier rounds count too, through a momentum in float32 that stays in the client's context
        ("fedicu.momentum").
    settings: threads, and the options of ``fedicu mask --set``: mask="top=0.1", importance="rank".
    """

    def __init__(self, *, keep_momentum: bool = False, **settings: Any) -> None:
        check_settings(settings, keep_momentum)
        self._keep_momentum, self._settings = keep_momentum, settings

    def __call__(self, message: Any, context: Any, call_next: Any) -> Any:
        if str(message.metadata.message_type).split(".")[0] != "train":
            return call_next(message, context)
        # read before the app runs, since it may take the arrays out of the message
        received = _read_message(message)
        configs = message.content.config_records.values()
        server_round = next((config["server-round"] for config in configs if "server-round" in config), None)
        reply = call_next(message, context)
        if reply.has_error():
            return reply
        trained = _read_message(reply)
        key = next(iter(reply.content.array_records))
        state = context.state.array_records
        has_momentum = self._keep_momentum and _MOMENTUM in state
        kept = {name: array.numpy() for name, array in state[_MOMENTUM].items()} if has_momentum else None
        packed, momentum = mask_and_pack(received, trained, kept, self._keep_momentum, server_round, self._settings)
        if self._keep_momentum:
            state[_MOMENTUM] = ArrayRecord({name: Array(array) for name, array in momentum.items()})
        reply.content.array_records[key] = ArrayRecord({name: _to_flower(array) for name, array in packed.items()})
        return reply


def _to_flower(array: NDArray | Bits) -> Any:
    if isinstance(array, Bits):
        return Array(dtype=_npy.BFLOAT16, shape=array.shape, stype=_npy.STYPE, data=_npy.save(array.array))
    return Array(array)


def _read_message(message: Any) -> dict[str, NDArray | Bits]:
    records = message.content.array_records
    if len(records) != 1:
        raise InvalidArgumentError(f"The message has {len(records)} ArrayRecords; one, the model, was expected.")
    with owned_by("The message"):
        return _read_record(next(iter(records.values())))


def _read_record(record: Mapping[str, Any]) -> dict[str, NDArray | Bits]:
    return {name: _npy.view_labelled(name, array) for name, array in record.items()}


def _read_parameters(parameters: Any) -> dict[str, NDArray]:
    return {str(i): _npy.view(f"tensor '{i}'", parameters.tensor_type, data) for i, data in enumerate(parameters.tensors)}


try:
    from flwr.common import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
    from flwr.serverapp.strategy import FedAvg
except ImportError:

    class FedICU:  # type: ignore[no-redef]
        """Requires Flower with its message API (1.21 or later)."""

        def __init__(self, *_: Any, **__: Any) -> None:
            raise ImportError("fedicu.flower.FedICU needs flwr with flwr.serverapp.strategy (Flower 1.21 or later).")

else:

    class FedICU(_Aggregating, FedAvg):  # type: ignore[no-redef]
        """Flower's FedAvg with FedICU.Core's aggregation.

        aggregator: an Aggregator, the name of a strategy, or None for "fedicu" with its defaults. The other arguments
            are FedAvg's.
        adapter_config: the content of adapter_config.json, if the arrays are a LoRA adapter by PEFT's names. The property
            of that name has the new adapter's after each round. Clients receive theirs as JSON text in the ConfigRecord,
            as "adapter-config". A reply may state another one in a ConfigRecord of its own, under the same key.
        rank_of: returns the rank that a node trains; its messages have the adapter cut to it (:func:`fedicu.adapt`). None:
            all nodes receive the whole adapter.

        A round's metrics are FedAvg's, fedicu-included and fedicu-left-out. aggregator.report has everything else.
        """

        def __init__(
            self,
            *args: Any,
            adapter_config: Mapping[str, Any] | None = None,
            rank_of: Callable[[int], int] | None = None,
            **kwargs: Any,
        ) -> None:
            super().__init__(*args, **kwargs)
            if rank_of is not None and adapter_config is None:
                raise InvalidArgumentError("rank_of was given without adapter_config; both were expected.")
            if adapter_config is not None:
                with owned_by("The global model"):
                    encode_config(adapter_config)
            self.adapter_config = adapter_config
            self._rank_of = rank_of
            self._sent: dict[str, Mapping[str, Any]] = {}

        def configure_train(self, server_round: int, arrays: Any, config: Any, grid: Any) -> Any:
            self._received = arrays
            return self._cut(super().configure_train(server_round, arrays, config, grid), arrays)

        def configure_evaluate(self, server_round: int, arrays: Any, config: Any, grid: Any) -> Any:
            return self._cut(super().configure_evaluate(server_round, arrays, config, grid), arrays)

        def _cut(self, messages: Iterable[Any], arrays: Any) -> Iterable[Any]:
            """Gives each message the adapter of its node's rank, and the configuration."""
            if self.adapter_config is None:
                return messages
            with owned_by("The global model"):
                whole = Adapter(_read_record(arrays), self.adapter_config)
            cut: dict[int | None, tuple[Any, Mapping[str, Any]]] = {None: (arrays, self.adapter_config)}
            messages = list(messages)
            for message in messages:
                node = message.metadata.dst_node_id
                rank = None if self._rank_of is None else self._rank_of(node)
                if rank not in cut:
                    adapter = adapt(whole, rank)
                    record = ArrayRecord({name: _to_flower(array) for name, array in adapter.tensors.items()})
                    cut[rank] = record, adapter.adapter_config
                record, config = cut[rank]
                self._sent[str(node)] = config
                stated = {**message.content[self.configrecord_key], ADAPTER_CONFIG: encode_config(config).decode()}
                message.content = RecordDict({self.arrayrecord_key: record, self.configrecord_key: ConfigRecord(stated)})
            return messages

        def aggregate_train(self, server_round: int, replies: Any) -> Any:
            # not validated: Flower would end the run if one reply differs from the others, but the policies must decide
            valid, _ = self._check_and_log_replies(replies, is_train=True, validate=False)
            if not valid:
                return None, None
            contents = [(str(message.metadata.src_node_id), message.content) for message in valid]
            openers = [(client, functools.partial(self._open_reply, client, content)) for client, content in contents]
            model, made, included = self._aggregate(server_round, "configure_train", _read_record, openers)
            arrays = ArrayRecord({name: self._to_array(name, model[name], data) for name, data in made.items()})
            common = _keep_common_metrics([content for client, content in contents if client in included])
            metrics = self.train_metrics_aggr_fn(common, self.weighted_by_key)
            return arrays, MetricRecord({**metrics, **_counts(len(contents), included)})

        def _open_reply(self, client: str, content: Any) -> tuple[Any, Any, Mapping[str, Any] | None]:
            for records, kind in ((content.array_records, "ArrayRecord"), (content.metric_records, "MetricRecord")):
                if len(records) != 1:
                    raise InvalidInput(f"its reply has {len(records)} {kind}s; one was expected.")
            metrics = next(iter(content.metric_records.values()))
            config = None
            if self.adapter_config is not None:
                config = _config_of(content.config_records.values()) or self._sent.get(client, self.adapter_config)
            return metrics.get(self.weighted_by_key, _Missing()), next(iter(content.array_records.values())), config

        def _to_array(self, name: str, like: NDArray | Bits, data: bytes) -> Any:
            """Returns one of the result's arrays, labelled like the received model's."""
            if self._received is not None and (isinstance(like, Bits) or like.dtype.isnative):
                received = self._received[name]
                # an array without a label has no shape either; an adapter's may be new
                label, shape = received.dtype, tuple(received.shape) and tuple(like.shape)
            else:
                label, shape = _npy.BFLOAT16 if isinstance(like, Bits) else str(native_order(like.dtype)), like.shape
            return Array(dtype=label, shape=shape, stype=_npy.STYPE, data=data)


try:
    from flwr.common import Parameters
    from flwr.server.strategy import FedAvg as _LegacyFedAvg
except ImportError:

    class LegacyFedICU:  # type: ignore[no-redef]
        """Requires Flower."""

        def __init__(self, *_: Any, **__: Any) -> None:
            raise ImportError("fedicu.flower.LegacyFedICU needs flwr.")

else:

    class LegacyFedICU(_Aggregating, _LegacyFedAvg):  # type: ignore[no-redef]
        """:class:`FedICU` for Flower's older API (flwr.server.strategy). Parameters are named "0", "1" and so on."""

        def configure_fit(self, server_round: int, parameters: Any, client_manager: Any) -> Any:
            self._received = parameters
            return super().configure_fit(server_round, parameters, client_manager)

        def aggregate_fit(self, server_round: int, results: Any, failures: Any) -> Any:
            if not results or failures and not self.accept_failures:
                return None, {}
            replies = [(str(proxy.cid), result) for proxy, result in results]
            openers = [(client, functools.partial(self._open_reply, result)) for client, result in replies]
            _, made, included = self._aggregate(server_round, "configure_fit", _read_parameters, openers)
            metrics: dict[str, Any] = {}
            if self.fit_metrics_aggregation_fn:
                metrics = self.fit_metrics_aggregation_fn(
                    [(result.num_examples, result.metrics) for client, result in replies if client in included])
            return Parameters(tensors=list(made.values()), tensor_type=_npy.STYPE), {**metrics, **_counts(len(replies), included)}

        @staticmethod
        def _open_reply(result: Any) -> tuple[Any, Any, None]:
            return _Missing() if result.num_examples is None else result.num_examples, result.parameters, None
