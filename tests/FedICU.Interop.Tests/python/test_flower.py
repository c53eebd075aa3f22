"""The strategies against stand-ins of Flower's classes, as its messages and records have them."""

import dataclasses
import io
import sys
import types
import unittest

import numpy as np


@dataclasses.dataclass
class Array:
    dtype: str
    shape: list
    stype: str
    data: bytes


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


def install():
    modules = {name: types.ModuleType(name) for name in ("flwr", "flwr.common", "flwr.server", "flwr.server.strategy", "flwr.serverapp", "flwr.serverapp.strategy")}
    modules["flwr.common"].Array, modules["flwr.common"].ArrayRecord = Array, ArrayRecord
    modules["flwr.common"].MetricRecord, modules["flwr.common"].Parameters = MetricRecord, Parameters
    modules["flwr.serverapp.strategy"].FedAvg, modules["flwr.server.strategy"].FedAvg = FedAvg, LegacyFedAvg
    sys.modules.update(modules)


try:
    import flwr  # noqa: F401  where the real one is there, it is used
except ImportError:
    install()

import fedicu  # noqa: E402
from fedicu.flower import FedICU, LegacyFedICU  # noqa: E402


def saved(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def record(model):
    return ArrayRecord({name: Array(str(array.dtype), list(array.shape), "numpy.ndarray", saved(array)) for name, array in model.items()})


def loaded(arrays):
    return {name: np.load(io.BytesIO(array.data), allow_pickle=False) for name, array in arrays.items()}


def reply(node, model, examples):
    content = types.SimpleNamespace(array_records={"arrays": record(model)}, metric_records={"metrics": MetricRecord({"num-examples": examples})})
    return types.SimpleNamespace(content=content, metadata=types.SimpleNamespace(src_node_id=node))


def models(count):
    random = np.random.default_rng(2)
    return [{"w": random.standard_normal((40, 30)).astype(np.float32), "n": np.asarray(3, dtype=np.int64), "b": random.standard_normal(9).astype(np.float16)} for _ in range(count)]


class FlowerTests(unittest.TestCase):
    def test_a_round_has_the_librarys_bits(self):
        for strategy in ("fedavg", "fedicu"):
            received, *trained = models(4)
            expected = fedicu.Aggregator(strategy).aggregate(received, [(str(100 + k), 10 * (k + 1), trained[k]) for k in range(3)])
            flower = FedICU(aggregator=strategy)
            self.assertEqual(flower.configure_train(2, record(received), {}, None), [2])
            failed = types.SimpleNamespace(content=None)
            arrays, metrics = flower.aggregate_train(2, [reply(100 + k, trained[k], 10 * (k + 1)) for k in range(3)] + [failed])
            self.assertEqual(list(arrays), list(received))
            for name, array in loaded(arrays).items():
                np.testing.assert_array_equal(array, expected[name])
                self.assertEqual((arrays[name].dtype, arrays[name].shape), (str(received[name].dtype), list(received[name].shape)))
            self.assertEqual(metrics, {"loss": 1.5, "fedicu-included": 3, "fedicu-left-out": 0})
            self.assertEqual(flower.aggregator.report["round"], 2)

    def test_the_older_api_has_them_too(self):
        received, *trained = models(3)
        flower = LegacyFedICU(aggregator="fedavg")
        flower.configure_fit(1, Parameters([saved(array) for array in received.values()], "numpy.ndarray"), None)
        results = [
            (types.SimpleNamespace(cid=f"c{k}"), types.SimpleNamespace(num_examples=k + 1, metrics={}, parameters=Parameters([saved(a) for a in trained[k].values()], "numpy.ndarray")))
            for k in range(2)]
        parameters, metrics = flower.aggregate_fit(1, results, [])
        expected = fedicu.Aggregator("fedavg").aggregate(received, [(f"c{k}", k + 1, trained[k]) for k in range(2)])
        for data, array in zip(parameters.tensors, expected.values()):
            np.testing.assert_array_equal(np.load(io.BytesIO(data), allow_pickle=False), array)
        self.assertEqual(metrics["fedicu-included"], 2)
        self.assertEqual(flower.aggregate_fit(1, [], []), (None, {}))

    def test_no_replies_are_no_result(self):
        self.assertEqual(FedICU(aggregator="fedavg").aggregate_train(1, []), (None, None))

    def test_broken_replies_are_refused_by_name(self):
        received, trained = models(2)
        flower = FedICU(aggregator="fedavg")
        flower.configure_train(1, record(received), {}, None)
        cut = reply(7, trained, 1)
        cut.content.array_records["arrays"]["w"].data = cut.content.array_records["arrays"]["w"].data[:100]
        with self.assertRaisesRegex(fedicu.InvalidArgumentError, "Tensor 'w': its 100 bytes are not an array"):
            flower.aggregate_train(1, [cut])
        pickled = reply(7, trained, 1)
        pickled.content.array_records["arrays"]["w"].stype = "pickle"
        with self.assertRaisesRegex(fedicu.InvalidArgumentError, "serialized as 'pickle'"):
            flower.aggregate_train(1, [pickled])
        with self.assertRaisesRegex(fedicu.RoundRejectedError, "[Cc]lient '7'"):
            flower.aggregate_train(1, [reply(7, {**trained, "w": trained["w"][:5]}, 1)])
        with self.assertRaisesRegex(fedicu.WrongStateError, "configure_train"):
            FedICU(aggregator="fedavg").aggregate_train(1, [reply(7, trained, 1)])


if __name__ == "__main__":
    unittest.main()
