"""The strategies against stand-ins of Flower's classes, as its messages and records have them."""

import dataclasses
import io
import sys
import types
import unittest

import numpy as np


class Array:
    def __init__(self, array=None, *, dtype=None, shape=None, stype=None, data=None):
        if array is not None:
            dtype, shape, stype, data = str(array.dtype), array.shape, "numpy.ndarray", saved(array)
        # as Flower has it
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


def install():
    modules = {name: types.ModuleType(name) for name in ("flwr", "flwr.common", "flwr.server", "flwr.server.strategy", "flwr.serverapp", "flwr.serverapp.strategy")}
    modules["flwr.common"].Array, modules["flwr.common"].ArrayRecord = Array, ArrayRecord
    modules["flwr.common"].MetricRecord, modules["flwr.common"].Parameters = MetricRecord, Parameters
    modules["flwr.serverapp.strategy"].FedAvg, modules["flwr.server.strategy"].FedAvg = FedAvg, LegacyFedAvg
    sys.modules.update(modules)


# Flower's own code is what federate_flower.py runs on
install()

import flwr.common as flower  # noqa: E402

import fedicu  # noqa: E402
from fedicu.flower import FedICU, FedICUMod, LegacyFedICU  # noqa: E402


def saved(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def record(model):
    return flower.ArrayRecord({name: flower.Array(array) for name, array in model.items()})


def loaded(arrays):
    return {name: array.numpy() for name, array in arrays.items()}


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
                self.assertEqual((arrays[name].dtype, arrays[name].shape), (str(received[name].dtype), received[name].shape))
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

    def test_clients_send_what_their_mask_keeps(self):
        """Two rounds of two clients, with the momentum of the round before and without: what the mod sends aggregates to what fedicu.mask's updates do."""
        settings = {"mask": "top=0.25", "beta": 0.5}
        for strategy, keeps in (("fedavg", True), ("fedicu", True), ("fedicu", False)):
            received, *trained = models(5)
            flower, plain = FedICU(aggregator=strategy), fedicu.Aggregator(strategy)
            contexts = [types.SimpleNamespace(state=types.SimpleNamespace(array_records={})) for _ in range(2)]
            momenta, expected = [None, None], received
            for server_round in (1, 2):
                flower.configure_train(server_round, record(received), {}, None)
                replies, updates = [], []
                for k in range(2):
                    model = trained[2 * server_round - 2 + k]
                    message = types.SimpleNamespace(
                        metadata=types.SimpleNamespace(message_type="train"),
                        content=types.SimpleNamespace(array_records={"arrays": record(received)}, config_records={"config": {"server-round": server_round}}))

                    def app(message, context):
                        message.content.array_records.clear()
                        made = reply(k, model, k + 1)
                        made.has_error = lambda: False
                        return made

                    replies.append(FedICUMod(keep_momentum=keeps, **settings)(message, contexts[k], app))
                    updates.append((str(k), k + 1, fedicu.mask(expected, model, momenta[k], keep_momentum=keeps, round=server_round, **settings)))
                    momenta[k] = updates[-1][2].momentum or None
                    self.assertEqual(bool(contexts[k].state.array_records), keeps)
                    sent = replies[-1].content.array_records["arrays"]
                    self.assertEqual(list(sent), list(received))
                    self.assertLess(len(sent["w"].data), 0.4 * len(saved(model["w"])))
                arrays, _ = flower.aggregate_train(server_round, replies)
                expected = plain.aggregate(expected, updates, round=server_round)
                received = loaded(arrays)
                for name in received:
                    np.testing.assert_array_equal(received[name], expected[name])

    def test_the_older_api_takes_masked_updates(self):
        received, trained = models(2)
        context = types.SimpleNamespace(state=types.SimpleNamespace(array_records={}))
        numbered = [{str(i): array for i, array in enumerate(model.values())} for model in (received, trained)]
        message = types.SimpleNamespace(
            metadata=types.SimpleNamespace(message_type="train"),
            content=types.SimpleNamespace(array_records={"fitins.parameters": record(numbered[0])}, config_records={"fitins.config": {}}))
        answer = types.SimpleNamespace(has_error=lambda: False, content=types.SimpleNamespace(array_records={"fitres.parameters": record(numbered[1])}))
        sent = FedICUMod(mask="top=0.25")(message, context, lambda message, context: answer).content.array_records["fitres.parameters"]
        flower = LegacyFedICU(aggregator="fedavg")
        flower.configure_fit(1, Parameters([saved(array) for array in received.values()], "numpy.ndarray"), None)
        result = types.SimpleNamespace(num_examples=1, metrics={}, parameters=Parameters([array.data for array in sent.values()], "numpy.ndarray"))
        parameters, _ = flower.aggregate_fit(1, [(types.SimpleNamespace(cid="a"), result)], [])
        expected = fedicu.Aggregator("fedavg").aggregate(received, [("a", 1, fedicu.mask(received, trained, mask="top=0.25"))])
        for data, array in zip(parameters.tensors, expected.values()):
            np.testing.assert_array_equal(np.load(io.BytesIO(data), allow_pickle=False), array)

    def test_wrong_settings_are_told_at_once(self):
        for wrong in ({"mask": "tpo=0.25"}, {"maks": "hard"}):
            with self.assertRaises(fedicu.InvalidOptionsError):
                FedICUMod(**wrong)
        with self.assertRaisesRegex(fedicu.InvalidArgumentError, "aggregator is a int"):
            FedICU(aggregator=3)

    def test_the_mod_leaves_other_messages_alone(self):
        message = types.SimpleNamespace(metadata=types.SimpleNamespace(message_type="evaluate"))
        self.assertEqual(FedICUMod()(message, None, lambda message, context: "reply"), "reply")
        message = types.SimpleNamespace(
            metadata=types.SimpleNamespace(message_type="train"), content=types.SimpleNamespace(array_records={"arrays": record(models(1)[0])}, config_records={}))
        failed = types.SimpleNamespace(has_error=lambda: True)
        self.assertIs(FedICUMod()(message, None, lambda message, context: failed), failed)
        message.content.array_records["more"] = record(models(1)[0])
        with self.assertRaisesRegex(fedicu.InvalidArgumentError, "2 ArrayRecords"):
            FedICUMod()(message, None, lambda message, context: failed)

    def test_no_replies_are_no_result(self):
        self.assertEqual(FedICU(aggregator="fedavg").aggregate_train(1, []), (None, None))

    def test_broken_replies_are_refused_by_name(self):
        received, trained = models(2)
        flower = FedICU(aggregator="fedavg")
        flower.configure_train(1, record(received), {}, None)
        cut = reply(7, trained, 1)
        cut.content.array_records["arrays"]["w"].data = cut.content.array_records["arrays"]["w"].data[:100]
        with self.assertRaisesRegex(fedicu.InvalidArgumentError, "Client '7', tensor 'w': its 100 bytes are not an array"):
            flower.aggregate_train(1, [cut])
        for shape in ((2**70,), (2**32, 2**32), (-1, 4)):
            broken, header = reply(7, trained, 1), io.BytesIO()
            np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
            broken.content.array_records["arrays"]["w"].data = header.getvalue() + bytes(64)
            with self.assertRaisesRegex(fedicu.InvalidArgumentError, "Client '7', tensor 'w': its 192 bytes are not an array"):
                flower.aggregate_train(1, [broken])
        from fedicu._wire import pack

        update = fedicu.mask(received, trained, mask="top=0.25")
        packed = pack(update, received)
        with self.assertRaisesRegex(fedicu.InvalidArgumentError, "Client '7', tensor 'w': 150 packed bytes"):
            flower.aggregate_train(1, [reply(7, {**packed, "w": packed["w"][:150]}, 1)])
        with self.assertRaisesRegex(fedicu.RoundRejectedError, "[Cc]lient '7'.*'w'.*values where its mask has"):
            flower.aggregate_train(1, [reply(7, {**packed, "w": np.delete(packed["w"], slice(80, 84))}, 1)])
        other = fedicu.mask(trained, received, mask="top=0.25")
        with self.assertRaisesRegex(fedicu.RoundRejectedError, "[Cc]lient '7'"):
            flower.aggregate_train(1, [reply(7, pack(other, received), 1)])
        pickled = reply(7, trained, 1)
        pickled.content.array_records["arrays"]["w"].stype = "pickle"
        with self.assertRaisesRegex(fedicu.InvalidArgumentError, "serialized as 'pickle'"):
            flower.aggregate_train(1, [pickled])
        with self.assertRaisesRegex(fedicu.RoundRejectedError, "[Cc]lient '7'"):
            flower.aggregate_train(1, [reply(7, {**trained, "w": trained["w"][:5]}, 1)])
        with self.assertRaisesRegex(fedicu.WrongStateError, "configure_train"):
            FedICU(aggregator="fedicu").aggregate_train(1, [reply(7, trained, 1)])
        unknown = FedICU(aggregator="fedavg")
        np.testing.assert_array_equal(loaded(unknown.aggregate_train(1, [reply(7, trained, 1)])[0])["w"], trained["w"])
        with self.assertRaisesRegex(fedicu.InvalidArgumentError, "Client '7', tensor 'w' is packed"):
            unknown.aggregate_train(1, [reply(7, packed, 1)])


if __name__ == "__main__":
    unittest.main()
