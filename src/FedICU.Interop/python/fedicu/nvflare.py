"""NVFlare's FedAvg workflow with FedICU.Core's aggregation, and a client filter that sends only the important values.

>>> from fedicu.nvflare import FedICU, FedICUModelAggregator
>>> aggregator = FedICUModelAggregator("fedicu", tau=0.5)
>>> job.to_server(FedICU(num_clients=2, num_rounds=3, aggregator=aggregator))    # instead of FedAvg(num_clients=2, num_rounds=3)

>>> from fedicu.nvflare import FedICUFilter
>>> for kind in (FilterType.TASK_DATA, FilterType.TASK_RESULT):  # it must see the received model and the trained one
...     job.to_clients(FedICUFilter(mask="top=0.1"), filter_type=kind, tasks=["train"])
"""

from __future__ import annotations

import copy
import inspect
import logging
import numbers
import os
from typing import Any, Iterable, Mapping

import numpy as np

from ._text import InvalidInput, raise_missing, show, show_error

try:
    from nvflare.apis.dxo import DataKind
    from nvflare.apis.dxo_filter import DXOFilter
    from nvflare.app_common.abstract.fl_model import FLModel, ParamsType
    from nvflare.app_common.aggregators import weighted_aggregation_helper
    from nvflare.app_common.aggregators.model_aggregator import ModelAggregator
    from nvflare.app_common.workflows.fedavg import FedAvg
except ModuleNotFoundError as _error:
    raise_missing(_error, "nvflare", 'fedicu.nvflare needs NVFlare; "pip install nvflare" installs it.')

from ._adapters import adapt
from ._aggregator import Aggregator
from ._native import InvalidArgumentError, WrongStateError
from ._tensors import Bits, FileTensor, dtype_of, native_order, own_copy
from ._updates import STATEMENTS, Adapter, Unreadable, Update
from ._wire import check_settings, included_clients, mask_and_pack, most_common_form, unpack

__all__ = ["FedICU", "FedICUFilter", "FedICUModelAggregator"]

# The values of NVFlare's constants, in the order of the names below:
# AppConstants.GLOBAL_MODEL, AppConstants.CURRENT_ROUND, ModelLearnableKey.WEIGHTS, FLMetaKey.NUM_STEPS_CURRENT_ROUND
_GLOBAL_MODEL, _ROUND, _WEIGHTS, _STEPS = "global_model", "current_round", "weights", "NUM_STEPS_CURRENT_ROUND"
# FilterContextKey.CHAIN_TYPE, FilterChainType.TASK_DATA_CHAIN
_CHAIN, _TASK_DATA = "__chain_type", "task_data"
# a result's meta: its client, the number of aggregated results; the key of a Shareable's DXO; a peer's property
_CLIENT, _AGGREGATED, _DXO, _IDENTITY = "client_name", "nr_aggregated", "DXO", "__identity_name__"
# ours: the received model in the FLContext; the report and an adapter's configuration in a result's meta
_RECEIVED, _REPORT, _CONFIG = "fedicu.received", "fedicu_report", "adapter_config"
_log = logging.getLogger(__name__)


def _averageable(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the metrics that NVFlare can average."""
    nvflares = getattr(weighted_aggregation_helper, "filter_aggregatable_metrics", None)
    return dict(nvflares(metrics)) if nvflares else {name: value for name, value in metrics.items() if isinstance(value, numbers.Real)}


def _data_kind(shareable: Any) -> Any:
    """Returns the data kind that a result states; None if it has no DXO, which NVFlare refuses itself."""
    content = shareable.get(_DXO) if isinstance(shareable, Mapping) else None
    return content.get("kind") if isinstance(content, Mapping) else None


def _weight(model: FLModel) -> Any:
    """Returns the weight that a client states; 1 if it states none, like NVFlare."""
    steps = (model.meta or {}).get(_STEPS)
    return 1.0 if steps is None else steps


def _read_statements(model: FLModel) -> dict[str, Any]:
    """Returns what a client states about its training, in its meta or its metrics."""
    meta = model.meta or {}
    metrics = model.metrics if isinstance(model.metrics, Mapping) else {}
    stated = {name: meta.get(name, metrics.get(name)) for name in STATEMENTS}
    if stated["local_steps"] is None:
        stated["local_steps"] = meta.get(_STEPS)
    return stated


def _difference(made: Mapping[str, Any], received: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the new model minus the received one, by the library. Integers are left out."""
    floats = [name for name in made if dtype_of(made[name]) in ("F64", "F32", "F16", "BF16")]
    update = Update("received", 1, {name: received[name] for name in floats}, delta=True)
    # x + scale d, for the new model x and the received one as d
    subtract = Aggregator("task-arithmetic", scale=-1)
    return dict(subtract.aggregate({name: made[name] for name in floats}, [update]))


def _read_params(model: FLModel, received: Mapping[str, Any]) -> Any:
    if not isinstance(model.params, Mapping):
        return model.params
    params = {}
    for name, value in model.params.items():
        if hasattr(value, "materialize"):
            # a tensor that NVFlare keeps on disk has a path and a key
            value = FileTensor(value.file_path, value.key, value)
        elif isinstance(value, np.ndarray) and native_order(value.dtype) == np.uint16 and name in received:
            # the filter sends bfloat16, which numpy does not have, as uint16
            value = Bits(value, "BF16") if dtype_of(received[name]) == "BF16" else value
        params[name] = value
    return unpack(params, received)


def _majority(kinds: Iterable[Any]) -> Any:
    """Returns the type of most results, or FULL on a tie, so that one client cannot decide for the others."""
    stated = list(kinds)
    return ParamsType.DIFF if stated.count(ParamsType.DIFF) > len(stated) / 2 else ParamsType.FULL


class FedICUModelAggregator(ModelAggregator):
    """Aggregates FLModels with full parameters or differences.

    Parameters are dicts of numpy arrays, torch tensors or tensors that NVFlare keeps on disk, or paths of safetensors
    files. A value that :class:`FedICUFilter` left out keeps the received value. A client's weight is
    NUM_STEPS_CURRENT_ROUND of its meta, otherwise 1. The policies (on_unreadable, on_weight, on_dtype and so on) apply to
    whatever is wrong with a client's result, including its number of steps.

    What a client states about its training is in its meta or its metrics: local_steps, loss, staleness, normalizer. Without
    local_steps, NUM_STEPS_CURRENT_ROUND counts.

    The received model, which the clients trained, is the FLContext's "global_model", which NVFlare's FedAvg, recipes and
    ScatterAndGather keep. :class:`FedICU` states it too. Other workflows must set ``received``. Only the strategy "fedavg"
    works without it: the result then has the mean of the clients' differences.

    The result's metrics are NVFlare's weighted mean over the clients that the report includes.

    strategy: one of :func:`fedicu.strategies`, or several joined by commas.
    settings: its options in a dict, as NVFlare's jobs need them.
    adapter_config: the content of adapter_config.json, if the parameters are a LoRA adapter. Each result's meta has the new
        adapter's, as "adapter_config". A client may state its own there; otherwise it is the one that it was sent.
    result: "FULL", the new parameters; or "DIFF", their difference to the received model, which FedOpt's server optimizers
        need. Integers are no part of a difference.
    more: its options by name. Both are those of :class:`fedicu.Aggregator`.
    """

    def __init__(
        self,
        strategy: str = "fedicu",
        settings: Mapping[str, Any] | None = None,
        adapter_config: Mapping[str, Any] | None = None,
        result: str = "FULL",
        **more: Any,
    ) -> None:
        super().__init__()
        if result not in ("FULL", "DIFF"):
            raise InvalidArgumentError(f"result is {show(result)}; 'FULL' or 'DIFF' was expected.")
        if result == "DIFF" and adapter_config is not None:
            raise InvalidArgumentError("result is 'DIFF' and adapter_config is given; a new adapter has its own factors: use 'FULL'.")
        self.strategy = strategy
        self.result = result
        self.adapter_config = adapter_config
        self.sent_configs: dict[str, Mapping[str, Any]] = {}
        self.settings = {**(settings or {}), **more}
        self.received: Mapping[str, Any] | None = None
        self._aggregator = Aggregator(strategy, **self.settings)
        self._models: list[FLModel] = []
        self._faults: dict[int, str] = {}
        self._scattered = False
        self._sender: str | None = None
        self._used: Any = None

    @property
    def aggregator(self) -> Aggregator:
        """The library's aggregator, with its report and state."""
        return self._aggregator

    def accept(self, shareable: Any, fl_ctx: Any) -> bool:
        # only ScatterAndGather calls this
        self._scattered = True
        self._sender = shareable.get_peer_prop(_IDENTITY, None)
        try:
            kind = _data_kind(shareable)
            if kind not in (None, DataKind.WEIGHTS, DataKind.WEIGHT_DIFF):
                stated = show(str(getattr(kind, "value", kind)))
                return self._accept_fault(f"its result is of the kind {stated}; WEIGHTS or WEIGHT_DIFF was expected.")
            return bool(super().accept(shareable, fl_ctx))
        except Exception as error:  # NVFlare may raise anything for a result that is not a model
            return self._accept_fault(f"its result cannot be read: {type(error).__name__}: {show_error(error)}.")
        finally:
            self.fl_ctx = fl_ctx
            self._sender = None

    def _accept_fault(self, reason: str) -> bool:
        """Keeps a client whose result is not a model, so that the policies apply."""
        self._faults[len(self._models)] = reason
        self.accept_model(FLModel())
        return True

    def accept_model(self, model: FLModel) -> None:
        # a result may state any sender; the shareable's peer is authenticated
        if self._sender is not None:
            model.meta = {**(model.meta or {}), _CLIENT: self._sender}
        self._models.append(model)

    def aggregate_model(self) -> FLModel:
        if not self._models:
            raise WrongStateError("No client's model was accepted.")
        received = self._global_model()
        if received is None and (self.strategy != "fedavg" or self.result == "DIFF"):
            raise WrongStateError(
                f"The model that the clients trained is not known, and the strategy '{self.strategy}' with a {self.result} result "
                f"needs it: the FLContext has no '{_GLOBAL_MODEL}'; a persistor or the workflow fedicu.nvflare.FedICU provides it.")
        named = ((self._client_name(model, i), model, self._faults.get(i)) for i, model in enumerate(self._models))
        results = sorted(named, key=lambda result: result[0])
        # differences and parameters can be mixed only if the model between them is known
        kind = _majority(model.params_type for _, model, _ in results if model.params is not None) if received is None else None
        updates = [self._to_update(client, model, fault, received, kind) for client, model, fault in results]
        global_model = most_common_form(update.model for update in updates) if received is None else received
        number = self._round_number(model for _, model, _ in results)
        meta: dict[str, Any] = {}
        if self.adapter_config is None or received is None:
            params = self._aggregator.aggregate(global_model, updates, round=number)
        else:
            adapter = self._aggregator.aggregate(Adapter(received, self.adapter_config), updates, round=number)
            params, self.adapter_config, meta[_CONFIG] = adapter.tensors, adapter.adapter_config, adapter.adapter_config
        included = included_clients(self._aggregator, _log)
        self._used = self._learnable()
        if self.result == "DIFF":
            kind, params = ParamsType.DIFF, _difference(params, received or {})
        made = FLModel(
            params_type=kind or ParamsType.FULL,
            params=params,
            metrics=self._mean_metrics([(client, model) for client, model, _ in results if client in included]),
            current_round=number,
            meta={**meta, _REPORT: self._aggregator.report})
        self.reset_stats()
        return made

    def reset_stats(self) -> None:
        self._models = []
        self._faults = {}

    def _round_number(self, models: Iterable[FLModel]) -> int | None:
        """Returns the server's number of the round, otherwise the first one that a client states."""
        stated = [None if self.fl_ctx is None else self.fl_ctx.get_prop(_ROUND), *(model.current_round for model in models)]
        valid = (number for number in stated if isinstance(number, int) and not isinstance(number, bool) and 0 <= number < 2**63)
        return next(valid, None)

    @staticmethod
    def _mean_metrics(results: list[tuple[str, FLModel]]) -> Any:
        """Returns NVFlare's weighted mean of the metrics of the included clients."""
        if any(model.metrics is None for _, model in results):
            return None
        helper = weighted_aggregation_helper.WeightedAggregationHelper()
        try:
            for client, model in results:
                helper.add(
                    data=_averageable(model.metrics), weight=float(_weight(model)), contributor_name=client,
                    contribution_round=model.current_round)
            return helper.get_result() or None
        except Exception as error:  # metrics may be anything, and must not cost the aggregated model
            _log.warning("The round has no metrics, as the clients' cannot be averaged: %s", error)
            return None

    def _global_model(self) -> Mapping[str, Any] | None:
        if self.received is not None:
            return self.received
        learnable = self._learnable()
        weights = learnable.get(_WEIGHTS) if isinstance(learnable, dict) else None
        if weights and learnable is self._used and not self._scattered:
            # FedAvg makes a new one in each round; ScatterAndGather may change the one that it has
            raise WrongStateError(
                f"The FLContext's '{_GLOBAL_MODEL}' is still that of an earlier round, so the workflow does not keep it; "
                "the workflow fedicu.nvflare.FedICU does, or set the aggregator's received.")
        return weights or None

    def _learnable(self) -> Any:
        return None if self.fl_ctx is None else self.fl_ctx.get_prop(_GLOBAL_MODEL)

    def _to_update(
        self, client: str, model: FLModel, fault: str | None, received: Mapping[str, Any] | None, kind: ParamsType | None
    ) -> Update:
        if fault is None and model.params is None:
            fault = "it sent no parameters."
        if fault is None and kind is not None and model.params_type != kind:
            stated = show(getattr(model.params_type, "value", model.params_type))
            fault = (f"it sent parameters of type {stated}; {kind.value} was expected: "
                     "without the received model, all results of a round must have one type.")
        try:
            params = Unreadable(fault) if fault is not None else _read_params(model, received or {})
        except InvalidInput as error:
            params = Unreadable(str(error))
        except Exception as error:  # a result may hold anything; the round must go on without it
            params = Unreadable(f"its parameters cannot be read: {type(error).__name__}: {show_error(error)}.")
        if self.adapter_config is not None and isinstance(params, Mapping):
            config = (model.meta or {}).get(_CONFIG)
            params = Adapter(params, self.sent_configs.get(client, self.adapter_config) if config is None else config)
        is_delta = received is not None and model.params_type == ParamsType.DIFF
        return Update(client, _weight(model), params, delta=is_delta, **_read_statements(model))

    @staticmethod
    def _client_name(model: FLModel, number: int) -> str:
        name = (model.meta or {}).get(_CLIENT)
        if name is not None:
            return str(name)
        if isinstance(model.params, (str, os.PathLike)):
            return os.path.basename(model.params)
        return f"#{number}"


class FedICU(FedAvg):
    """NVFlare's FedAvg workflow. It gives its aggregator the model that each round's clients receive.

    aggregator: a :class:`FedICUModelAggregator`; None makes one with the strategy "fedicu" and its defaults. The other
        arguments are FedAvg's. With the strategy fedprox, clients receive its mu as FedAvg's fedprox_mu, if NVFlare has it.
    ranks: the ranks of the adapter that clients train, by the clients' names; the aggregator must have an adapter_config.
        Each client is sent the adapter cut to its rank (:func:`fedicu.adapt`), others the whole one. Its configuration is
        in the model's meta, as "adapter_config".
    """

    def __init__(
        self,
        *args: Any,
        aggregator: FedICUModelAggregator | None = None,
        ranks: Mapping[str, int] | None = None,
        **kwargs: Any,
    ) -> None:
        aggregator = aggregator or FedICUModelAggregator()
        if (mu := aggregator.aggregator.proximal_mu) and "fedprox_mu" in inspect.signature(FedAvg.__init__).parameters:
            kwargs.setdefault("fedprox_mu", mu)
        super().__init__(*args, aggregator=aggregator, **kwargs)
        if ranks and self.aggregator.adapter_config is None:
            raise InvalidArgumentError("ranks were given, but the aggregator has no adapter_config; both were expected.")
        self.ranks = dict(ranks or {})

    def send_model(self, *args: Any, data: FLModel, targets: Any = None, **kwargs: Any) -> None:
        self.aggregator.received = data.params or None
        # the workflow copies a result's meta to the model, but clients must not receive the report
        data.meta = {key: value for key, value in (data.meta or {}).items() if key != _REPORT}
        config = self.aggregator.adapter_config
        if config is None:
            super().send_model(*args, data=data, targets=targets, **kwargs)
            return
        whole = Adapter(data.params, config)
        groups: dict[int | None, list[Any]] = {}
        for target in targets or []:
            groups.setdefault(self.ranks.get(getattr(target, "name", target)), []).append(target)
        for rank, members in groups.items() if targets else [(None, targets)]:
            adapter = whole if rank is None else adapt(whole, rank)
            self.aggregator.sent_configs.update(
                {getattr(member, "name", member): adapter.adapter_config for member in members or []})
            sent = copy.copy(data)
            sent.params, sent.meta = adapter.tensors, {**data.meta, _CONFIG: adapter.adapter_config}
            super().send_model(*args, data=sent, targets=members, **kwargs)

    def _get_aggregated_result(self) -> FLModel:
        # the workflow also counts the results that the aggregator left out
        made = super()._get_aggregated_result()
        made.meta[_AGGREGATED] = sum(client["included"] for client in made.meta[_REPORT]["clients"])
        return made


class FedICUFilter(DXOFilter):
    """A client filter that sends the trained values that are more important than the received ones (``fedicu.mask``).

    It works on full parameters. The server's aggregator must be :class:`FedICUModelAggregator`. The filter must be in both
    chains of the task. In the chain of the task's data it keeps a copy of the model in the FLContext ("fedicu.received").
    In the chain of the result it masks.

    settings: threads, and the options of ``fedicu mask --set``: mask="top=0.1", importance="rank".
    more: the same options by name.
    keep_momentum: whether earlier rounds count too, through a momentum in float32 that stays with the filter in the
        client's process.
    """

    def __init__(self, settings: Mapping[str, Any] | None = None, *, keep_momentum: bool = False, **more: Any) -> None:
        kinds = [DataKind.WEIGHTS, DataKind.WEIGHT_DIFF]
        super().__init__(supported_data_kinds=kinds, data_kinds_to_filter=list(kinds))
        self.settings = {**(settings or {}), **more}
        check_settings(self.settings, keep_momentum)
        self.keep_momentum = keep_momentum
        self._momentum: Mapping[str, Any] | None = None

    def process_dxo(self, dxo: Any, shareable: Any, fl_ctx: Any) -> Any:
        if self.get_prop(_CHAIN) == _TASK_DATA:
            # a copy, since trainers may train in place
            received = {name: own_copy(value) for name, value in dxo.data.items()}
            fl_ctx.set_prop(_RECEIVED, received, private=True, sticky=True)
            return None
        if dxo.data_kind != DataKind.WEIGHTS:
            raise InvalidArgumentError(
                f"The result is {dxo.data_kind}; {DataKind.WEIGHTS}, full parameters, was expected: "
                "the model from which differences are measured is not sent with them.")
        received = fl_ctx.get_prop(_RECEIVED)
        if received is None:
            raise WrongStateError(
                "The model that the client received is not known: the filter must be in the chain of the task's data too.")
        packed, momentum = mask_and_pack(
            received, dxo.data, self._momentum, self.keep_momentum, shareable.get_header(_ROUND), self.settings)
        dxo.data = {name: array.array if isinstance(array, Bits) else array for name, array in packed.items()}
        self._momentum = momentum or None
        return dxo
