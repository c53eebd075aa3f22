"""Stand-ins for Flower's classes, so that the tests need no Flower. Importing this module installs them.

Flower's own code is tested by federate_flower.py.
"""

import dataclasses
import io
import sys
import types

import numpy as np


def saved(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


class Array:
    def __init__(self, array=None, *, dtype=None, shape=None, stype=None, data=None):
        if array is not None:
            dtype, shape, stype, data = str(array.dtype), array.shape, "numpy.ndarray", saved(array)
        # Flower raises the same error
        if not (isinstance(dtype, str) and isinstance(shape, tuple) and isinstance(stype, str) and isinstance(data, bytes)):
            raise TypeError("Invalid arguments for Array.")
        self.dtype, self.shape, self.stype, self.data = dtype, shape, stype, data

    def numpy(self):
        return np.load(io.BytesIO(self.data), allow_pickle=False)


class ArrayRecord(dict):
    pass


class MetricRecord(dict):
    pass


@dataclasses.dataclass
class Parameters:
    tensors: list
    tensor_type: str


class FedAvg:
    def __init__(self, weighted_by_key="num-examples", train_metrics_aggr_fn=None):
        self.weighted_by_key = weighted_by_key
        self.train_metrics_aggr_fn = train_metrics_aggr_fn or (lambda contents, key: MetricRecord(loss=1.5))

    def configure_train(self, server_round, arrays, config, grid):
        return [server_round]

    def _check_and_log_replies(self, replies, is_train, validate=True):
        return [reply for reply in replies if reply.content is not None], [reply for reply in replies if reply.content is None]


class LegacyFedAvg:
    accept_failures = True
    fit_metrics_aggregation_fn = None

    def configure_fit(self, server_round, parameters, client_manager):
        return [server_round]


def _install():
    names = ("flwr", "flwr.common", "flwr.server", "flwr.server.strategy", "flwr.serverapp", "flwr.serverapp.strategy")
    modules = {name: types.ModuleType(name) for name in names}
    modules["flwr.common"].Array, modules["flwr.common"].ArrayRecord = Array, ArrayRecord
    modules["flwr.common"].MetricRecord, modules["flwr.common"].Parameters = MetricRecord, Parameters
    modules["flwr.serverapp.strategy"].FedAvg, modules["flwr.server.strategy"].FedAvg = FedAvg, LegacyFedAvg
    sys.modules.update(modules)


_install()


def record(model):
    return ArrayRecord({name: Array(array) for name, array in model.items()})


def loaded(arrays):
    return {name: array.numpy() for name, array in arrays.items()}


def reply(node, model, examples):
    metrics = MetricRecord({"num-examples": examples})
    content = types.SimpleNamespace(array_records={"arrays": record(model)}, metric_records={"metrics": metrics})
    return types.SimpleNamespace(content=content, metadata=types.SimpleNamespace(src_node_id=node))


def train_message(model, config=None):
    """A message that asks a client to train."""
    content = types.SimpleNamespace(array_records={"arrays": record(model)}, config_records=config or {})
    return types.SimpleNamespace(metadata=types.SimpleNamespace(message_type="train"), content=content)


def context():
    """A client's context."""
    return types.SimpleNamespace(state=types.SimpleNamespace(array_records={}))


def fit_result(client, arrays, examples=1):
    """A client's result in the older API."""
    parameters = Parameters([saved(array) for array in arrays], "numpy.ndarray")
    return types.SimpleNamespace(cid=client), types.SimpleNamespace(num_examples=examples, metrics={}, parameters=parameters)
