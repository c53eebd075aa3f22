"""Stand-ins for Flower's classes, so that the tests need no Flower. Importing this module installs them.

Flower's own code is tested by federate_flower.py.
"""

import dataclasses
import functools
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


class ConfigRecord(dict):
    pass


class RecordDict(dict):
    """Records by their names."""

    array_records = property(lambda self: self._of(ArrayRecord))
    config_records = property(lambda self: self._of(ConfigRecord))
    metric_records = property(lambda self: self._of(MetricRecord))

    def _of(self, kind):
        return {key: record for key, record in self.items() if isinstance(record, kind)}


class Message:
    def __init__(self, content, message_type=None, dst_node_id=None, reply_to=None):
        source = None if reply_to is None else reply_to.metadata.dst_node_id
        self.content = content
        self.metadata = types.SimpleNamespace(message_type=message_type, dst_node_id=dst_node_id, src_node_id=source)
        self.has_error = lambda: False


class App:
    """A ServerApp or a ClientApp: functions by the names of their decorators."""

    def __init__(self, mods=()):
        self.functions, self.mods = {}, mods

    def __call__(self, message, context):
        """Runs the mods, the first one outermost, and the function for the message."""
        call = self.functions[message.metadata.message_type]
        for mod in reversed(self.mods):
            call = functools.partial(self._run_mod, mod, call)
        return call(message, context)

    @staticmethod
    def _run_mod(mod, call, message, context):
        return mod(message, context, call)

    def __getattr__(self, name):
        def register(function):
            self.functions[name] = function
            return function

        return lambda: register


class Grid:
    """Passes messages to a client app in the same process. Node k is the client of the k-th name, and has the k-th partition."""

    def __init__(self, app, clients, run_config=None):
        self.app = app
        self.contexts = {
            node: types.SimpleNamespace(
                node_config={"client": name, "partition-id": node}, run_config=run_config or {},
                state=types.SimpleNamespace(array_records={}))
            for node, name in enumerate(clients)}
        self.sent = []

    def get_node_ids(self):
        return list(self.contexts)

    def send_and_receive(self, messages):
        self.sent.append(list(messages))
        return [self.app(message, self.contexts[message.metadata.dst_node_id]) for message in self.sent[-1]]


@dataclasses.dataclass
class Parameters:
    tensors: list
    tensor_type: str


class FedAvg:
    arrayrecord_key, configrecord_key = "arrays", "config"

    def __init__(
        self, fraction_train=1.0, fraction_evaluate=1.0, min_train_nodes=2, min_evaluate_nodes=2, min_available_nodes=2,
        weighted_by_key="num-examples", train_metrics_aggr_fn=None,
    ):
        self.weighted_by_key = weighted_by_key
        self.train_metrics_aggr_fn = train_metrics_aggr_fn or self._mean_loss

    @staticmethod
    def _mean_loss(contents, key):
        losses = [record["loss"] for content in contents for record in content.metric_records.values() if "loss" in record]
        return MetricRecord(loss=sum(losses) / len(losses) if losses else 1.5)

    def configure_train(self, server_round, arrays, config, grid):
        if grid is None:
            return [server_round]
        # as in Flower, all messages have the same content
        content = RecordDict({"arrays": arrays, "config": ConfigRecord({**config, "server-round": server_round})})
        return [Message(content, "train", node) for node in grid.get_node_ids()]

    configure_evaluate = configure_train

    def start(self, grid, initial_arrays, num_rounds, evaluate_fn=None):
        arrays, metrics = initial_arrays, {}
        if evaluate_fn:
            evaluate_fn(0, arrays)
        for server_round in range(1, num_rounds + 1):
            replies = grid.send_and_receive(self.configure_train(server_round, arrays, {}, grid))
            arrays, metrics[server_round] = self.aggregate_train(server_round, replies)
            if evaluate_fn:
                evaluate_fn(server_round, arrays)
        return types.SimpleNamespace(arrays=arrays, train_metrics_clientapp=metrics)


class LegacyFedAvg:
    accept_failures = True
    fit_metrics_aggregation_fn = None

    def __init__(self, *, min_fit_clients=2):
        self.min_fit_clients = min_fit_clients

    def configure_fit(self, server_round, parameters, client_manager):
        return [(None, types.SimpleNamespace(parameters=parameters, config={}))]


def _install():
    records = {kind.__name__: kind for kind in (Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict)}
    members = {
        "flwr": {},
        "flwr.app": {**records, "Context": types.SimpleNamespace, "MessageType": types.SimpleNamespace(TRAIN="train")},
        "flwr.clientapp": {"ClientApp": App},
        "flwr.common": {**records, "Parameters": Parameters},
        "flwr.server": {},
        "flwr.server.strategy": {"FedAvg": LegacyFedAvg},
        "flwr.serverapp": {"Grid": Grid, "ServerApp": App},
        "flwr.serverapp.strategy": {"FedAvg": FedAvg},
    }
    modules = {name: types.ModuleType(name) for name in members}
    for name, module in modules.items():
        vars(module).update(members[name])
    sys.modules.update(modules)


_install()


def record(model):
    return ArrayRecord({name: Array(array) for name, array in model.items()})


def loaded(arrays):
    return {name: array.numpy() for name, array in arrays.items()}


def reply(node, model, examples):
    metrics = MetricRecord({"num-examples": examples})
    content = types.SimpleNamespace(array_records={"arrays": record(model)}, metric_records={"metrics": metrics})
    metadata = types.SimpleNamespace(src_node_id=node)
    return types.SimpleNamespace(content=content, metadata=metadata, has_error=lambda: False)


def failed_reply(node):
    return types.SimpleNamespace(
        metadata=types.SimpleNamespace(src_node_id=node), has_error=lambda: True, error=types.SimpleNamespace(reason="it failed"))


def train_message(model, config=None):
    """A message that asks a client to train."""
    records = {"config": {"fedicu-mask": 1}} if config is None else config
    content = types.SimpleNamespace(array_records={"arrays": record(model)}, config_records=records)
    return types.SimpleNamespace(metadata=types.SimpleNamespace(message_type="train"), content=content)


def context():
    """A client's context."""
    return types.SimpleNamespace(state=types.SimpleNamespace(array_records={}))


def fit_result(client, arrays, examples=1):
    """A client's result in the older API."""
    parameters = Parameters([saved(array) for array in arrays], "numpy.ndarray")
    return types.SimpleNamespace(cid=client), types.SimpleNamespace(num_examples=examples, metrics={}, parameters=parameters)
