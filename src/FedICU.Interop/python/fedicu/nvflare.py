"""NVFlare's FedAvg workflow with FedICU.Core's aggregation, and a filter for its clients that sends what matters alone.

>>> from fedicu.nvflare import FedICU, FedICUModelAggregator
>>> job.to_server(FedICU(num_clients=2, num_rounds=3, aggregator=FedICUModelAggregator("fedicu", tau=0.5)))    # was: FedAvg(num_clients=2, num_rounds=3)

>>> from fedicu.nvflare import FedICUFilter
>>> for kind in (FilterType.TASK_DATA, FilterType.TASK_RESULT):  # it must see the model that comes and the one that goes
...     job.to_clients(FedICUFilter(mask="top=0.1"), filter_type=kind, tasks=["train"])
"""

from __future__ import annotations

import logging
import numbers
import os
from typing import Any, Iterable, Mapping

import numpy as np

from nvflare.apis.dxo import DataKind
from nvflare.apis.dxo_filter import DXOFilter
from nvflare.app_common.abstract.fl_model import FLModel, ParamsType
from nvflare.app_common.aggregators import weighted_aggregation_helper
from nvflare.app_common.aggregators.model_aggregator import ModelAggregator
from nvflare.app_common.workflows.fedavg import FedAvg

from . import Aggregator, FileTensor, InvalidArgumentError, Unreadable, Update, WrongStateError
from ._tensors import Bits, Unfit, dtype_of, native, own_copy, shown, told
from ._wire import check, included, masked, schema, unpack

__all__ = ["FedICU", "FedICUFilter", "FedICUModelAggregator"]

# NVFlare's names: the key of a Shareable's DXO, AppConstants.GLOBAL_MODEL and CURRENT_ROUND, ModelLearnableKey.WEIGHTS, FLMetaKey.NUM_STEPS_CURRENT_ROUND, FilterContextKey.CHAIN_TYPE, FilterChainType
_GLOBAL_MODEL, _ROUND, _WEIGHTS, _STEPS, _CLIENT = "global_model", "current_round", "weights", "NUM_STEPS_CURRENT_ROUND", "client_name"
_CHAIN, _TASK_DATA = "__chain_type", "task_data"
_RECEIVED, _REPORT, _IDENTITY = "fedicu.received", "fedicu_report", "__identity_name__"
_AGGREGATED, _DXO = "nr_aggregated", "DXO"
_log = logging.getLogger(__name__)


def _aggregatable(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics of which NVFlare takes means."""
    own = getattr(weighted_aggregation_helper, "filter_aggregatable_metrics", None)
    return own(metrics) if own else {name: value for name, value in metrics.items() if isinstance(value, numbers.Real)}


def _kind(shareable: Any) -> Any:
    """What kind of data the sender calls its result; None where it is no DXO, which NVFlare refuses itself."""
    content = shareable.get(_DXO) if isinstance(shareable, Mapping) else None
    return content.get("kind") if isinstance(content, Mapping) else None


def _weight(model: FLModel) -> Any:
    """What the client states; 1 where it states nothing, as NVFlare has it."""
    steps = (model.meta or {}).get(_STEPS)
    return 1.0 if steps is None else steps


def _params(model: FLModel, received: Mapping[str, Any]) -> Any:
    if not isinstance(model.params, Mapping):
        return model.params
    params = {}
    for name, value in model.params.items():
        if hasattr(value, "materialize"):
            # what NVFlare keeps on disk has a path and a key
            value = FileTensor(value.file_path, value.key, value)
        elif isinstance(value, np.ndarray) and native(value.dtype) == np.uint16 and name in received and dtype_of(received[name]) == "BF16":
            # the filter's arrays of bfloat16, for which numpy has no type
            value = Bits(value, "BF16")
        params[name] = value
    return unpack(params, received)


def _majority(kinds: Iterable[Any]) -> Any:
    """What most results are, FULL where it is a tie or there is none: one client must not decide for the others."""
    stated = list(kinds)
    return ParamsType.DIFF if stated.count(ParamsType.DIFF) > len(stated) / 2 else ParamsType.FULL


class FedICUModelAggregator(ModelAggregator):
    """Aggregates FLModels of full parameters or differences, as dicts of numpy arrays, torch tensors or tensors that NVFlare keeps on disk, or as paths of safetensors files.
    What :class:`FedICUFilter` left out of full parameters keeps the value that was received.

    What is wrong with a client's result, its meta's number of steps included, falls under the policies (on_unreadable, on_weight, on_dtype and so on).

    strategy, settings, more: as :class:`fedicu.Aggregator` takes them, in a dict, as NVFlare's jobs need them, or by name. A client weighs NUM_STEPS_CURRENT_ROUND of its meta,
    otherwise 1. The model that the clients trained is told by :class:`FedICU`, or is ScatterAndGather's ("global_model" of the FLContext); other workflows set ``received``. The
    result has full parameters, as differences would be rounded twice; of differences without a global model, which FedAvg alone can take, it has their mean. Its metrics are
    NVFlare's weighted mean of those of the clients that the report includes.
    """

    def __init__(self, strategy: str = "fedicu", settings: Mapping[str, Any] | None = None, **more: Any) -> None:
        super().__init__()
        self.strategy = strategy
        self.settings = {**(settings or {}), **more}
        self.received: Mapping[str, Any] | None = None
        self._aggregator = Aggregator(strategy, **self.settings)
        self._models: list[FLModel] = []
        self._faults: dict[int, str] = {}
        self._scattered = False
        self._sender: str | None = None

    @property
    def aggregator(self) -> Aggregator:
        """The library's: its report, its state."""
        return self._aggregator

    def accept(self, shareable: Any, fl_ctx: Any) -> bool:
        # ScatterAndGather's call; its FLContext has each round's model, that of other workflows the first alone
        self._scattered = True
        self._sender = shareable.get_peer_prop(_IDENTITY, None)
        try:
            kind = _kind(shareable)
            if kind not in (None, DataKind.WEIGHTS, DataKind.WEIGHT_DIFF):
                return self._accept_fault(f"its result is of the kind {shown(str(getattr(kind, 'value', kind)))}; WEIGHTS or WEIGHT_DIFF was expected.")
            return super().accept(shareable, fl_ctx)
        except Exception as error:  # what NVFlare itself cannot make a model of, whatever it is
            return self._accept_fault(f"its result cannot be read: {type(error).__name__}: {told(error)}.")
        finally:
            self.fl_ctx = fl_ctx
            self._sender = None

    def _accept_fault(self, reason: str) -> bool:
        """Keeps a client whose result is no model, for the policies."""
        self._faults[len(self._models)] = reason
        self.accept_model(FLModel())
        return True

    def accept_model(self, model: FLModel) -> None:
        # a result says what it likes of its sender; the shareable's peer is known
        if self._sender is not None:
            model.meta = {**(model.meta or {}), _CLIENT: self._sender}
        self._models.append(model)

    def aggregate_model(self) -> FLModel:
        if not self._models:
            raise WrongStateError("No client's model was accepted.")
        received = self._global_model()
        if received is None and self.strategy != "fedavg":
            raise WrongStateError(f"The model that the clients trained is not known, and the strategy '{self.strategy}' wants it; the workflow fedicu.nvflare.FedICU tells it.")
        sent = sorted(((self._client(model, i), model, self._faults.get(i)) for i, model in enumerate(self._models)), key=lambda one: one[0])
        # differences and parameters go together only where the model between them is known
        kind = _majority(model.params_type for _, model, _ in sent if model.params is not None) if received is None else None
        updates = [self._update(client, model, fault, received, kind) for client, model, fault in sent]
        global_model = schema(update.model for update in updates) if received is None else received
        number = self._number(model for _, model, _ in sent)
        params = self._aggregator.aggregate(global_model, updates, round=number)
        takes_part = included(self._aggregator, _log)
        made = FLModel(
            params_type=kind or ParamsType.FULL, params=params, metrics=self._metrics([(client, model) for client, model, _ in sent if client in takes_part]),
            current_round=number, meta={_REPORT: self._aggregator.report})
        self.reset_stats()
        return made

    def reset_stats(self) -> None:
        self._models = []
        self._faults = {}

    def _number(self, models: Iterable[FLModel]) -> int | None:
        """The round's number as the server has it, else as the first client that states one."""
        stated = [None if self.fl_ctx is None else self.fl_ctx.get_prop(_ROUND), *(model.current_round for model in models)]
        return next((number for number in stated if isinstance(number, int) and not isinstance(number, bool) and 0 <= number < 2**63), None)

    @staticmethod
    def _metrics(sent: list[tuple[str, FLModel]]) -> Any:
        """NVFlare's weighted mean of the metrics of the clients that take part."""
        if any(model.metrics is None for _, model in sent):
            return None
        helper = weighted_aggregation_helper.WeightedAggregationHelper()
        try:
            for client, model in sent:
                helper.add(data=_aggregatable(model.metrics), weight=float(_weight(model)), contributor_name=client, contribution_round=model.current_round)
            return helper.get_result() or None
        except Exception as error:  # metrics may be anything; the model is made already
            _log.warning("The round has no metrics, as the clients' cannot be averaged: %s", error)
            return None

    def _global_model(self) -> Mapping[str, Any] | None:
        if self.received is not None:
            return self.received
        learnable = self.fl_ctx.get_prop(_GLOBAL_MODEL) if self._scattered else None
        weights = learnable.get(_WEIGHTS) if isinstance(learnable, dict) else None
        return weights or None

    @staticmethod
    def _update(client: str, model: FLModel, fault: str | None, received: Mapping[str, Any] | None, kind: ParamsType | None) -> Update:
        if fault is None and model.params is None:
            fault = "it sent no parameters."
        if fault is None and kind is not None and model.params_type != kind:
            fault = f"it sent parameters of type {shown(getattr(model.params_type, 'value', model.params_type))}; {kind.value} was expected, as the first client sent."
        try:
            params = Unreadable(fault) if fault is not None else _params(model, received or {})
        except Unfit as error:
            params = Unreadable(str(error))
        except Exception as error:  # a result may hold anything, and none may end the others' round
            params = Unreadable(f"its parameters cannot be read: {type(error).__name__}: {told(error)}.")
        return Update(client, _weight(model), params, delta=received is not None and model.params_type == ParamsType.DIFF)

    @staticmethod
    def _client(model: FLModel, number: int | None = None) -> str:
        name = (model.meta or {}).get(_CLIENT)
        if name is not None:
            return str(name)
        if isinstance(model.params, (str, os.PathLike)):
            return os.path.basename(model.params)
        return "?" if number is None else f"#{number}"


class FedICU(FedAvg):
    """NVFlare's FedAvg workflow, which tells its aggregator the model that each round's clients are sent.

    aggregator: a :class:`FedICUModelAggregator`; None makes one of the strategy "fedicu" with its defaults. Other arguments are FedAvg's.
    """

    def __init__(self, *args: Any, aggregator: FedICUModelAggregator | None = None, **kwargs: Any) -> None:
        super().__init__(*args, aggregator=aggregator or FedICUModelAggregator(), **kwargs)

    def send_model(self, *args: Any, data: FLModel, **kwargs: Any) -> None:
        self.aggregator.received = data.params or None
        # the workflow takes the result's meta over to the model, and a report is no client's
        (data.meta or {}).pop(_REPORT, None)
        super().send_model(*args, data=data, **kwargs)

    def _get_aggregated_result(self) -> FLModel:
        # the workflow counts the results that came, also those that the aggregator left out
        made = super()._get_aggregated_result()
        made.meta[_AGGREGATED] = sum(client["included"] for client in made.meta[_REPORT]["clients"])
        return made


class FedICUFilter(DXOFilter):
    """A client's filter: of full parameters it sends what matters more than what was received (``fedicu.mask``); the server's aggregator is :class:`FedICUModelAggregator`.

    settings, more: the options of ``fedicu mask --set``, mask="top=0.1", importance="rank", and threads, in a dict or by name. It stands in both chains of the task: in that of
    the task's data it keeps a copy of the model in the FLContext ("fedicu.received"), in that of the result it masks. keep_momentum: whether rounds before count too, by a momentum
    in float32 that stays with the filter in the client's process.
    """

    def __init__(self, settings: Mapping[str, Any] | None = None, *, keep_momentum: bool = False, **more: Any) -> None:
        super().__init__(supported_data_kinds=[DataKind.WEIGHTS, DataKind.WEIGHT_DIFF], data_kinds_to_filter=[DataKind.WEIGHTS, DataKind.WEIGHT_DIFF])
        self.settings = {**(settings or {}), **more}
        check(self.settings, keep_momentum)
        self.keep_momentum = keep_momentum
        self._momentum: Mapping[str, Any] | None = None

    def process_dxo(self, dxo: Any, shareable: Any, fl_ctx: Any) -> Any:
        if self.get_prop(_CHAIN) == _TASK_DATA:
            # trainers may train in place
            fl_ctx.set_prop(_RECEIVED, {name: own_copy(value) for name, value in dxo.data.items()}, private=True, sticky=True)
            return None
        if dxo.data_kind != DataKind.WEIGHTS:
            raise InvalidArgumentError(f"The result is {dxo.data_kind}; {DataKind.WEIGHTS}, full parameters, was expected: what differences are measured from is not sent with them.")
        received = fl_ctx.get_prop(_RECEIVED)
        if received is None:
            raise WrongStateError("The model that the client received is not known: the filter stands in the chain of the task's data too.")
        sent, momentum = masked(received, dxo.data, self._momentum, self.keep_momentum, shareable.get_header(_ROUND), self.settings)
        dxo.data = {name: array.array if isinstance(array, Bits) else array for name, array in sent.items()}
        self._momentum = momentum or None
        return dxo
