"""Flower strategies that aggregate with FedICU.Core, and a client mod that sends only the important values.

>>> from fedicu.flower import FedICU             # Flower's message API (flwr.serverapp), 1.22 or later
>>> strategy = FedICU(strategy="fedadam", server_lr=0.1, fraction_train=0.5)    # instead of FedAvg(fraction_train=0.5)

>>> from fedicu.flower import FedICUMod
>>> app = ClientApp(mods=[FedICUMod(mask="top=0.1")])

Everything except the aggregation is Flower's FedAvg: sampling, weighting key, metrics. Arrays are read in numpy's format
where Flower received them, without a copy.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any, Callable, Iterable, Mapping

from ._text import InvalidInput, encode_config, owned_by, raise_missing

try:
    from flwr.common import Array, Parameters
    from flwr.server.strategy import FedAvg as _LegacyFedAvg
except ModuleNotFoundError as _error:
    raise_missing(_error, "flwr", 'fedicu.flower needs Flower 1.22 or later; pip install "flwr>=1.22" installs it.')

from . import _npy
from ._adapters import adapt
from ._flower_mod import FedICUMod, to_flower
from ._flower_round import (
    ADAPTER_CONFIG,
    MASK,
    PROXIMAL_MU,
    Aggregating,
    Missing,
    Reply,
    config_of,
    counts,
    keep_common_metrics,
    log,
    read_parameters,
    read_record,
)
from ._native import InvalidArgumentError
from ._tensors import Bits, native_order
from ._updates import Adapter, NDArray

__all__ = ["ADAPTER_CONFIG", "MASK", "PROXIMAL_MU", "FedICU", "FedICUMod", "LegacyFedICU"]

try:
    from flwr.common import ArrayRecord, ConfigRecord, MetricRecord, RecordDict
    from flwr.serverapp.strategy import FedAvg
except ImportError:

    class FedICU:
        """Requires Flower's message API (1.22 or later)."""

        def __init__(self, *_: Any, **__: Any) -> None:
            raise ImportError("fedicu.flower.FedICU needs flwr.serverapp.strategy.FedAvg of Flower 1.22 or later.")

else:

    class FedICU(Aggregating, FedAvg):  # type: ignore[no-redef]
        """Flower's FedAvg with FedICU.Core's aggregation.

        strategy: one of :func:`fedicu.strategies`, or several joined by commas: "krum,fedadam". None: "fedicu". Its options
            are further arguments: server_lr=0.1. FedAvg's arguments are FedAvg's.
        settings: the strategy's options in a dict, for names that are not Python's: {"krum.byzantine": 1}.
        aggregator: a :class:`fedicu.Aggregator`, or a strategy's name, in place of strategy and its options.
        accept_masks: whether clients may send what :class:`FedICUMod` makes. Clients are told, as "fedicu-mask".
        statement_keys: other keys of the clients' metrics than "local-steps", "loss", "staleness" and "normalizer", by
            the names of :class:`fedicu.Update`'s fields: {"loss": "train_loss"}.
        adapter_config: the content of adapter_config.json, if the arrays are a LoRA adapter by PEFT's names. The property
            of that name has the new adapter's after each round. Clients receive theirs as JSON text in the ConfigRecord,
            as "adapter-config". A reply may state another one in a ConfigRecord of its own, under the same key.
        rank_of: returns the rank that a node trains; its messages have the adapter cut to it (:func:`fedicu.adapt`). None:
            all nodes receive the whole adapter.

        A round's metrics are FedAvg's, fedicu-included and fedicu-left-out. aggregator.report has everything else. With
        the strategy fedprox, clients receive mu as "proximal-mu", as from Flower's FedProx.
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
            # the configurations that the nodes of the round were sent
            self._sent: dict[str, Mapping[str, Any]] = {}

        @classmethod
        def _flowers_arguments(cls) -> set[str]:
            return set(inspect.signature(FedAvg.__init__).parameters)

        def configure_train(self, server_round: int, arrays: Any, config: Any, grid: Any) -> Any:
            self._received = arrays
            config.update(self._round_config())
            self._sent = {}
            return self._cut(super().configure_train(server_round, arrays, config, grid), arrays, self._sent)

        def configure_evaluate(self, server_round: int, arrays: Any, config: Any, grid: Any) -> Any:
            return self._cut(super().configure_evaluate(server_round, arrays, config, grid), arrays, {})

        def _cut(self, messages: Iterable[Any], arrays: Any, sent: dict[str, Mapping[str, Any]]) -> Iterable[Any]:
            """Gives each message the adapter of its node's rank, and the configuration, which sent receives too."""
            if self.adapter_config is None:
                return messages
            with owned_by("The global model"):
                whole = Adapter(read_record(arrays), self.adapter_config)
            cut: dict[int | None, tuple[Any, Mapping[str, Any]]] = {None: (arrays, self.adapter_config)}
            messages = list(messages)
            for message in messages:
                node = message.metadata.dst_node_id
                rank = None if self._rank_of is None else self._rank_of(node)
                if rank is not None and rank not in cut:
                    adapter = adapt(whole, rank)
                    record = ArrayRecord({name: to_flower(array) for name, array in adapter.tensors.items()})
                    cut[rank] = record, adapter.adapter_config or {}
                record, config = cut[rank]
                sent[str(node)] = config
                stated = {**message.content[self.configrecord_key], ADAPTER_CONFIG: encode_config(config).decode()}
                message.content = RecordDict({self.arrayrecord_key: record, self.configrecord_key: ConfigRecord(stated)})
            return messages

        def aggregate_train(self, server_round: int, replies: Any) -> Any:
            # Flower's comparison of the replies is not made: it would end the run, where the policies must decide
            replies = list(replies)
            for message in replies:
                if message.has_error():
                    log.info("Node %s replied with an error: %s", message.metadata.src_node_id, message.error.reason)
            contents = [(str(message.metadata.src_node_id), message.content) for message in replies if not message.has_error()]
            if not contents:
                return None, None
            openers = [(client, functools.partial(self._open_reply, client, content)) for client, content in contents]
            model, made, included = self._aggregate(server_round, "configure_train", read_record, openers)
            arrays = ArrayRecord({name: self._to_array(name, model[name], data) for name, data in made.items()})
            common = keep_common_metrics([content for client, content in contents if client in included])
            metrics = self.train_metrics_aggr_fn(common, self.weighted_by_key)
            return arrays, MetricRecord({**metrics, **counts(len(contents), included)})

        def _open_reply(self, client: str, content: Any) -> Reply:
            for records, kind in ((content.array_records, "ArrayRecord"), (content.metric_records, "MetricRecord")):
                if len(records) != 1:
                    raise InvalidInput(f"its reply has {len(records)} {kind}s; one was expected.")
            metrics = next(iter(content.metric_records.values()))
            config = None
            if self.adapter_config is not None:
                config = config_of(content.config_records.values()) or self._sent.get(client, self.adapter_config)
            weight = metrics.get(self.weighted_by_key, Missing())
            return Reply(weight, next(iter(content.array_records.values())), config, metrics)

        def _to_array(self, name: str, like: NDArray | Bits, data: bytes) -> Any:
            """Returns one of the result's arrays, labelled like the received model's."""
            if self._received is not None and (isinstance(like, Bits) or like.dtype.isnative):
                received = self._received[name]
                # an array without a label has no shape either; an adapter's may be new
                label, shape = received.dtype, tuple(received.shape) and tuple(like.shape)
            else:
                label, shape = _npy.BFLOAT16 if isinstance(like, Bits) else str(native_order(like.dtype)), like.shape
            return Array(dtype=label, shape=shape, stype=_npy.STYPE, data=data)


class LegacyFedICU(Aggregating, _LegacyFedAvg):
    """:class:`FedICU` for Flower's older API (flwr.server.strategy). Parameters are named "0", "1" and so on.

    The arguments are those of :class:`FedICU`, except adapter_config and rank_of, and those of Flower's older FedAvg. What a
    client states is read from its metrics.
    """

    @classmethod
    def _flowers_arguments(cls) -> set[str]:
        return set(inspect.signature(_LegacyFedAvg.__init__).parameters)

    def configure_fit(self, server_round: int, parameters: Any, client_manager: Any) -> Any:
        self._received = parameters
        chosen = super().configure_fit(server_round, parameters, client_manager)
        for _, instructions in chosen:
            instructions.config.update(self._round_config())
        return chosen

    def aggregate_fit(self, server_round: int, results: Any, failures: Any) -> Any:
        if not results or failures and not self.accept_failures:
            return None, {}
        replies = [(str(proxy.cid), result) for proxy, result in results]
        openers = [(client, functools.partial(self._open_reply, result)) for client, result in replies]
        _, made, included = self._aggregate(server_round, "configure_fit", read_parameters, openers)
        metrics: dict[str, Any] = {}
        if self.fit_metrics_aggregation_fn:
            metrics = self.fit_metrics_aggregation_fn(
                [(result.num_examples, result.metrics) for client, result in replies if client in included])
        return Parameters(tensors=list(made.values()), tensor_type=_npy.STYPE), {**metrics, **counts(len(replies), included)}

    @staticmethod
    def _open_reply(result: Any) -> Reply:
        weight = Missing() if result.num_examples is None else result.num_examples
        return Reply(weight, result.parameters, None, result.metrics or {})
