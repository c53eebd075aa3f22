"""NVFlare's FedAvg workflow with FedICU.Core's aggregation, and a filter for its clients that sends what matters alone.

>>> from fedicu.nvflare import FedICU, FedICUModelAggregator
>>> job.to_server(FedICU(num_clients=2, num_rounds=3, aggregator=FedICUModelAggregator("fedicu", tau=0.5)))    # was: FedAvg(num_clients=2, num_rounds=3)

>>> from fedicu.nvflare import FedICUFilter
>>> for kind in (FilterType.TASK_DATA, FilterType.TASK_RESULT):  # it must see the model that comes and the one that goes
...     job.to_clients(FedICUFilter(mask="top=0.1"), filter_type=kind, tasks=["train"])
"""

from __future__ import annotations

import numbers
import os
from typing import Any, Mapping

from nvflare.apis.dxo import DataKind
from nvflare.apis.dxo_filter import DXOFilter
from nvflare.app_common.abstract.fl_model import FLModel, ParamsType
from nvflare.app_common.aggregators import weighted_aggregation_helper
from nvflare.app_common.aggregators.model_aggregator import ModelAggregator
from nvflare.app_common.workflows.fedavg import FedAvg

from . import Aggregator, FileTensor, InvalidArgumentError, Update, WrongStateError
from ._tensors import own_copy
from ._wire import check, masked, unpack

__all__ = ["FedICU", "FedICUFilter", "FedICUModelAggregator"]

# NVFlare's names: AppConstants.GLOBAL_MODEL and CURRENT_ROUND, ModelLearnableKey.WEIGHTS, FLMetaKey.NUM_STEPS_CURRENT_ROUND, FilterContextKey.CHAIN_TYPE, FilterChainType
_GLOBAL_MODEL, _ROUND, _WEIGHTS, _STEPS, _CLIENT = "global_model", "current_round", "weights", "NUM_STEPS_CURRENT_ROUND", "client_name"
_CHAIN, _TASK_DATA = "__chain_type", "task_data"
_RECEIVED, _REPORT, _IDENTITY = "fedicu.received", "fedicu_report", "__identity_name__"


def _aggregatable(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics of which NVFlare takes means."""
    own = getattr(weighted_aggregation_helper, "filter_aggregatable_metrics", None)
    return own(metrics) if own else {name: value for name, value in metrics.items() if isinstance(value, numbers.Real)}


class FedICUModelAggregator(ModelAggregator):
    """Aggregates FLModels of full parameters or differences, as dicts of numpy arrays, torch tensors or tensors that NVFlare keeps on disk, or as paths of safetensors files.
    What :class:`FedICUFilter` left out of full parameters keeps the value that was received.

    strategy, settings, more: as :class:`fedicu.Aggregator` takes them, in a dict, as NVFlare's jobs need them, or by name. A client weighs NUM_STEPS_CURRENT_ROUND of its meta,
    otherwise 1. The model that the clients trained is told by :class:`FedICU`, or is ScatterAndGather's ("global_model" of the FLContext); other workflows set ``received``. The
    result has full parameters, as differences would be rounded twice; of differences without a global model, which FedAvg alone can take, it has their mean. Its metrics are
    NVFlare's weighted mean of the clients'.
    """

    def __init__(self, strategy: str = "fedicu", settings: Mapping[str, Any] | None = None, **more: Any) -> None:
        super().__init__()
        self.strategy = strategy
        self.settings = {**(settings or {}), **more}
        self.received: Mapping[str, Any] | None = None
        self._aggregator = Aggregator(strategy, **self.settings)
        self._models: list[FLModel] = []
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
        return super().accept(shareable, fl_ctx)

    def accept_model(self, model: FLModel) -> None:
        sender, self._sender = self._sender, None
        if sender is not None and _CLIENT not in (model.meta or {}):
            model.meta = {**(model.meta or {}), _CLIENT: sender}
        if model.params is None:
            raise InvalidArgumentError(f"Client '{self._client(model)}' sent no parameters.")
        if self._models and model.params_type != self._models[0].params_type:
            raise InvalidArgumentError(
                f"Client '{self._client(model)}' sent parameters of type {model.params_type.value}; {self._models[0].params_type.value} was expected, as the clients before sent.")
        self._models.append(model)

    def aggregate_model(self) -> FLModel:
        if not self._models:
            raise WrongStateError("No client's model was accepted.")
        first = self._models[0]
        received = self._global_model()
        differences = first.params_type == ParamsType.DIFF
        if received is None and self.strategy != "fedavg":
            raise WrongStateError(f"The model that the clients trained is not known, and the strategy '{self.strategy}' wants it; the workflow fedicu.nvflare.FedICU tells it.")
        updates = []
        for i, model in enumerate(self._models):
            client = self._client(model, i)
            updates.append(Update(client, self._weight(model), self._params(client, model, received), delta=differences and received is not None))
        # FedAvg of one kind asks its model for names and shapes alone
        schema = received if received is not None else updates[0].model
        params = self._aggregator.aggregate(schema, updates, round=first.current_round)
        kind = ParamsType.DIFF if differences and received is None else ParamsType.FULL
        made = FLModel(params_type=kind, params=params, metrics=self._metrics(), current_round=first.current_round, meta={_REPORT: self._aggregator.report})
        self.reset_stats()
        return made

    def reset_stats(self) -> None:
        self._models = []

    def _metrics(self) -> Any:
        if any(model.metrics is None for model in self._models):
            return None
        helper = weighted_aggregation_helper.WeightedAggregationHelper()
        for i, model in enumerate(self._models):
            helper.add(data=_aggregatable(model.metrics), weight=self._weight(model), contributor_name=self._client(model, i), contribution_round=model.current_round)
        return helper.get_result() or None

    @staticmethod
    def _weight(model: FLModel) -> float:
        steps = (model.meta or {}).get(_STEPS)
        return 1.0 if steps is None else float(steps)

    def _global_model(self) -> Mapping[str, Any] | None:
        if self.received is not None:
            return self.received
        learnable = self.fl_ctx.get_prop(_GLOBAL_MODEL) if self._scattered else None
        weights = learnable.get(_WEIGHTS) if isinstance(learnable, dict) else None
        return weights or None

    @staticmethod
    def _params(client: str, model: FLModel, received: Mapping[str, Any] | None) -> Any:
        if not isinstance(model.params, Mapping):
            return model.params
        # what NVFlare keeps on disk has a path and a key
        params = {name: FileTensor(value.file_path, value.key, value) if hasattr(value, "materialize") else value for name, value in model.params.items()}
        return unpack(client, params, received or {}, delta=model.params_type == ParamsType.DIFF)

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
        dxo.data, momentum = masked(received, dxo.data, self._momentum, self.keep_momentum, shareable.get_header(_ROUND), self.settings)
        self._momentum = momentum or None
        return dxo
