"""Stand-ins for NVFlare's classes, so that the tests need no NVFlare. Importing this module installs them.

NVFlare's own code is tested by federate_nvflare.py.
"""

import enum
import sys
import types


class ParamsType(str, enum.Enum):
    FULL = "FULL"
    DIFF = "DIFF"


class FLModel:
    def __init__(self, params_type=None, params=None, metrics=None, current_round=None, meta=None):
        params_type = None if params_type is None else ParamsType(params_type)
        self.params_type, self.params, self.metrics, self.current_round, self.meta = params_type, params, metrics, current_round, meta


class ModelAggregator:
    def __init__(self):
        self.fl_ctx = None

    def accept(self, shareable, fl_ctx):
        self.fl_ctx = fl_ctx
        self.accept_model(shareable)
        return True


class FedAvg:
    def __init__(self, *, num_rounds, aggregator, fedprox_mu=None):
        self.num_rounds, self.aggregator, self.fedprox_mu = num_rounds, aggregator, fedprox_mu

    def send_model(self, task_name, data, callback, targets=None):
        for model in self.clients(data) if targets is None else self.clients(data, targets):
            callback(model)

    def _get_aggregated_result(self):
        made = self.aggregator.aggregate_model()
        made.meta["nr_aggregated"] = len(self.clients(made))
        return made

    def run(self, model):
        for _ in range(self.num_rounds):
            self.aggregator.reset_stats()
            self.send_model(task_name="train", data=model, callback=self.aggregator.accept_model)
            model.params = self.aggregator.aggregate_model().params
        return model.params


class WeightedAggregationHelper:
    def __init__(self):
        self.data = []

    def add(self, data, weight, contributor_name, contribution_round):
        self.data.append((data, weight))

    def get_result(self):
        total = sum(weight for _, weight in self.data)
        return {name: sum(data[name] * weight for data, weight in self.data) / total for name in self.data[0][0]}


class DXOFilter:
    def __init__(self, supported_data_kinds, data_kinds_to_filter):
        self.data_kinds = data_kinds_to_filter

    def set_prop(self, key, value):
        setattr(self, key, value)

    def get_prop(self, key, default=None):
        return getattr(self, key, default)


class DataKind:
    WEIGHTS, WEIGHT_DIFF = "WEIGHTS", "WEIGHT_DIFF"


def _install():
    members = {
        "nvflare": {},
        "nvflare.apis": {},
        "nvflare.apis.dxo": {"DataKind": DataKind},
        "nvflare.apis.dxo_filter": {"DXOFilter": DXOFilter},
        "nvflare.app_common": {},
        "nvflare.app_common.abstract": {},
        "nvflare.app_common.abstract.fl_model": {"FLModel": FLModel, "ParamsType": ParamsType},
        "nvflare.app_common.aggregators": {},
        "nvflare.app_common.aggregators.model_aggregator": {"ModelAggregator": ModelAggregator},
        "nvflare.app_common.aggregators.weighted_aggregation_helper": {"WeightedAggregationHelper": WeightedAggregationHelper},
        "nvflare.app_common.workflows": {},
        "nvflare.app_common.workflows.fedavg": {"FedAvg": FedAvg},
    }
    modules = {name: types.ModuleType(name) for name in members}
    for name, module in modules.items():
        vars(module).update(members[name])
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(modules[parent], child, module)
    sys.modules.update(modules)


_install()


class Context(dict):
    """An FLContext."""

    get_prop = dict.get

    def set_prop(self, key, value, private, sticky):
        self[key] = value


def sent(k, params, kind=ParamsType.FULL):
    """The result of client site-k, which weighs 10 k."""
    return FLModel(kind, params, current_round=4, meta={"client_name": f"site-{k}", "NUM_STEPS_CURRENT_ROUND": 10 * k})
