"""An aggregator for NVFlare that aggregates with FedICU.Core.

>>> from fedicu.nvflare import FedICUModelAggregator
>>> aggregator = FedICUModelAggregator("fedicu", tau=0.5)        # where a ModelAggregator is asked for
"""

from __future__ import annotations

import os
from typing import Any, Mapping

from nvflare.app_common.abstract.fl_model import FLModel, ParamsType
from nvflare.app_common.aggregators.model_aggregator import ModelAggregator

from . import Aggregator, InvalidArgumentError, Update, WrongStateError

__all__ = ["FedICUModelAggregator"]

# NVFlare's names: AppConstants.GLOBAL_MODEL, ModelLearnableKey.WEIGHTS, FLMetaKey.NUM_STEPS_CURRENT_ROUND
_GLOBAL_MODEL, _WEIGHTS, _STEPS, _CLIENT = "global_model", "weights", "NUM_STEPS_CURRENT_ROUND", "client_name"


class FedICUModelAggregator(ModelAggregator):
    """Aggregates FLModels of full parameters or differences, as dicts of numpy arrays or torch tensors, or as paths of safetensors files.

    strategy, settings: as :class:`fedicu.Aggregator` takes them. A client weighs NUM_STEPS_CURRENT_ROUND of its meta, otherwise 1. The model that the clients trained is the
    workflow's ("global_model" of the FLContext). The result has full parameters, as differences would be rounded twice; of differences without a global model, which
    FedAvg alone can take, it has their mean.
    """

    def __init__(self, strategy: str = "fedicu", **settings: Any) -> None:
        super().__init__()
        self._strategy = strategy
        self.aggregator = Aggregator(strategy, **settings)
        self._models: list[FLModel] = []

    def accept_model(self, model: FLModel) -> None:
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
        if received is None and self._strategy != "fedavg":
            raise WrongStateError(f"The model that the clients trained is not in the FLContext ('{_GLOBAL_MODEL}'); the strategy '{self._strategy}' wants it.")
        updates = [
            Update(self._client(model, i), float((model.meta or {}).get(_STEPS, 1)), model.params, delta=differences and received is not None)
            for i, model in enumerate(self._models)]
        # FedAvg of one kind asks its model for names and shapes alone
        schema = received if received is not None else first.params
        params = self.aggregator.aggregate(schema, updates, round=first.current_round)
        kind = ParamsType.DIFF if differences and received is None else ParamsType.FULL
        self.reset_stats()
        return FLModel(params_type=kind, params=params, current_round=first.current_round, meta={"fedicu_report": self.aggregator.report})

    def reset_stats(self) -> None:
        self._models = []

    def _global_model(self) -> Mapping[str, Any] | None:
        learnable = self.fl_ctx.get_prop(_GLOBAL_MODEL) if self.fl_ctx is not None else None
        weights = learnable.get(_WEIGHTS) if isinstance(learnable, dict) else None
        return weights or None

    @staticmethod
    def _client(model: FLModel, number: int | None = None) -> str:
        name = (model.meta or {}).get(_CLIENT)
        if name is not None:
            return str(name)
        if isinstance(model.params, (str, os.PathLike)):
            return os.path.basename(model.params)
        return "?" if number is None else f"#{number}"
