"""Every kind of fault of one client among five, through every way in: the policies decide, and the others' round goes on where they say so."""

import io
import logging
import types
import unittest
import warnings

import numpy as np

import test_flower as flower
import test_nvflare as nvflare

import fedicu
from fedicu.flower import FedICU, LegacyFedICU
from fedicu.nvflare import FedICUModelAggregator

POLICIES = ("on_nonfinite", "on_missing", "on_extra", "on_shape", "on_dtype", "on_base", "on_unreadable", "on_weight", "on_quantized")
DROP = {policy: "drop-client" for policy in POLICIES}
FAULTY = 2


def arrays(seed):
    random = np.random.default_rng(seed)
    return {"w": random.standard_normal((6, 5)).astype(np.float32), "b": random.standard_normal(3).astype(np.float32)}


RECEIVED, TRAINED = arrays(99), [arrays(k) for k in range(5)]


def saved(array):
    return array if isinstance(array, (bytes, str)) else flower.saved(array)


def pickled():
    file = io.BytesIO()
    np.save(file, np.array([{}, None], dtype=object), allow_pickle=True)
    return file.getvalue()


def header(descr, shape, version=(1, 0)):
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY" + bytes(version) + len(text).to_bytes(2, "little") + text


GOOD = flower.saved(TRAINED[FAULTY]["w"])
UNREADABLE = {
    "no bytes": b"",
    "other bytes": b"PK\x03\x04 this is an archive",
    "only the magic": GOOD[:6],
    "half a header": GOOD[:60],
    "half the data": GOOD[:200],
    "one byte less": GOOD[:-1],
    "one byte more": GOOD + b"\0",
    "pickled": pickled(),
    "an unknown version": header("'<f4'", (6, 5), (9, 9)) + bytes(120),
    "a huge shape": header("'<f4'", (2**62, 2**62)) + bytes(120),
    "a negative shape": header("'<f4'", (-6, -5)) + bytes(120),
    "a shape of text": header("'<f4'", "'six'") + bytes(120),
    "a type of nothing": header("'<q9'", (6, 5)) + bytes(120),
    "a header of brackets": b"\x93NUMPY\x01\x00" + (9000).to_bytes(2, "little") + b"(" * 9000,
    "a header of signs": b"\x93NUMPY\x01\x00" + (9000).to_bytes(2, "little") + b"-" * 8999 + b"1",
    "text": "not bytes",
}
TYPES = {
    "text": np.array([["a"] * 5] * 6), "bytes": np.array([[b"ab"] * 5] * 6), "dates": np.zeros((6, 5), "M8[ns]"), "spans": np.zeros((6, 5), "m8[s]"),
    "complex": np.zeros((6, 5), np.complex128), "long double": np.zeros((6, 5), np.longdouble), "records": np.zeros((6, 5), [("x", "<f4"), ("y", "<i4")]),
    "raw": np.zeros((6, 5), "V2"), "integers": np.zeros((6, 5), np.int32), "truth": np.zeros((6, 5), bool),
}
# what only memory can hold
OBJECTS = {
    "objects": np.array([[None] * 5] * 6), "none": None, "a dict": {"x": 1}, "ragged": [[1.0], [1.0, 2.0]], "a set": {1.0}, "a word": "w",
    "masked": np.ma.masked_array(np.zeros((6, 5), np.float32), np.eye(6, 5)),
}
ARRAYS = {"shape": np.zeros((5, 6), np.float32), "rank": np.zeros(30, np.float32), "scalar": np.float32(1), "nan": np.full((6, 5), np.nan, np.float32)}
WEIGHTS = {
    "negative": -5, "nan": float("nan"), "inf": float("inf"), "-inf": float("-inf"), "text": "12", "truth": True, "400 digits": 10**400, "5000 digits": 10**5000,
    "a list": [3], "numpy's nan": np.float32("nan"), "complex": 1j, "a dict": {},
}


def replaced(**tensors):
    return {**TRAINED[FAULTY], **tensors}


class Plain:
    """fedicu.Aggregator itself."""

    def __init__(self, **settings):
        self.aggregator = fedicu.Aggregator("fedavg", **settings)

    def run(self, replies):
        return self.aggregator.aggregate(RECEIVED, [(f"c{client}", weight, model) for client, weight, model in replies])


class Messages:
    """Flower's message API."""

    def __init__(self, **settings):
        self.strategy = FedICU(aggregator=fedicu.Aggregator("fedavg", **settings), train_metrics_aggr_fn=self.mean)
        self.aggregator = self.strategy.aggregator

    def mean(self, contents, key):
        # of Flower's own: sums of weights and losses
        self.metrics = sorted(next(iter(content.metric_records.values()))["loss"] for content in contents)
        return {"examples": sum(next(iter(content.metric_records.values()))[key] for content in contents)}

    def reply(self, client, weight, model):
        made = flower.reply(f"c{client}", {}, weight)
        made.content.array_records["arrays"].update({name: self.array(value) for name, value in model.items()})
        metrics = made.content.metric_records["metrics"]
        metrics["loss"] = client
        if weight is None:
            del metrics["num-examples"]
        return made

    @staticmethod
    def array(value):
        if isinstance(value, flower.Array):
            return value
        if isinstance(value, (bytes, str)):
            made = flower.Array(TRAINED[FAULTY]["w"])
            made.data = value
            return made
        return flower.Array(np.asarray(value))

    def run(self, replies):
        self.strategy.configure_train(1, flower.record(RECEIVED), {}, None)
        made, metrics = self.strategy.aggregate_train(1, [self.reply(*reply) for reply in replies])
        self.assert_counts(metrics)
        return flower.loaded(made)

    def assert_counts(self, metrics):
        included = sum(client["included"] for client in self.aggregator.report["clients"])
        assert metrics["fedicu-included"] == included == len(self.metrics)
        assert metrics["examples"] == sum(client["weight"] for client in self.aggregator.report["clients"] if client["included"])


class Numbered(Messages):
    """Flower's older API."""

    def __init__(self, **settings):
        self.strategy = LegacyFedICU(aggregator=fedicu.Aggregator("fedavg", **settings))
        self.strategy.fit_metrics_aggregation_fn = self.older_mean
        self.aggregator = self.strategy.aggregator

    def older_mean(self, metrics):
        self.metrics = sorted(one["loss"] for _, one in metrics)
        return {"examples": sum(weight for weight, _ in metrics)}

    def run(self, replies):
        names = list(RECEIVED)
        self.strategy.configure_fit(1, flower.Parameters([saved(RECEIVED[name]) for name in names], "numpy.ndarray"), None)
        results = []
        for client, weight, model in replies:
            tensors = [model[name].data if isinstance(model[name], flower.Array) else saved(model[name]) for name in [*names, *sorted(set(model) - set(names))] if name in model]
            result = types.SimpleNamespace(num_examples=weight, metrics={"loss": client}, parameters=flower.Parameters(tensors, "numpy.ndarray"))
            results.append((types.SimpleNamespace(cid=f"c{client}"), result))
        parameters, metrics = self.strategy.aggregate_fit(1, results, [])
        self.assert_counts(metrics)
        return {name: np.load(io.BytesIO(data)) for name, data in zip(names, parameters.tensors)}


class Models:
    """NVFlare's FLModels."""

    def __init__(self, **settings):
        self.nvflare = FedICUModelAggregator("fedavg", settings)
        self.nvflare.received = RECEIVED
        self.aggregator = self.nvflare.aggregator

    def run(self, replies):
        for client, weight, model in replies:
            meta = {"client_name": f"c{client}", "NUM_STEPS_CURRENT_ROUND": weight}
            self.nvflare.accept_model(nvflare.FLModel(nvflare.ParamsType.FULL, model, {"loss": client}, 1, meta))
        try:
            made = self.nvflare.aggregate_model()
        finally:
            self.nvflare.reset_stats()
        self.metrics = made.metrics
        return made.params


class Shareables(Models):
    """NVFlare's ScatterAndGather, where the peer's name counts and not what the result says."""

    def run(self, replies):
        context = nvflare.Context(global_model={"weights": RECEIVED})
        for client, weight, model in replies:
            sent = nvflare.FLModel(nvflare.ParamsType.FULL, model, {"loss": client}, 1, {"client_name": "c0", "NUM_STEPS_CURRENT_ROUND": weight})
            sent.get_peer_prop = lambda key, default, name=f"c{client}": name
            self.nvflare.accept(sent, context)
        try:
            return self.nvflare.aggregate_model().params
        finally:
            self.nvflare.reset_stats()


MEMORY, FLOWER, NVFLARE = (Plain, Models, Shareables), (Messages, Numbered), (Models, Shareables)


def faults():
    """Ways in, weight, model, of the faulty client, and the policy under which each falls."""
    model = TRAINED[FAULTY]
    for what, data in UNREADABLE.items():
        yield what, "on_unreadable", FLOWER, 3, replaced(w=data)
    for what, array in TYPES.items():
        yield what, "on_dtype", MEMORY + FLOWER, 3, replaced(w=array)
    for what, value in OBJECTS.items():
        yield what, ("on_unreadable" if what in ("ragged", "masked") else "on_dtype"), MEMORY, 3, replaced(w=value)
    for what, array in ARRAYS.items():
        yield what, ("on_nonfinite" if what == "nan" else "on_shape"), MEMORY + FLOWER, 3, replaced(w=array)
    for what, weight in WEIGHTS.items():
        yield f"weight {what}", "on_weight", MEMORY + FLOWER, weight, model
    yield "no weight", "on_weight", FLOWER, None, model
    yield "missing", "on_missing", MEMORY + FLOWER, 3, {"w": model["w"]}
    yield "extra", "on_extra", MEMORY + FLOWER, 3, replaced(z=model["b"])
    yield "an extra of an unknown type", "on_extra", MEMORY, 3, replaced(z=np.array(["a"]))
    codes = {"q.weight": np.zeros(15, np.uint8), "q.weight.absmax": np.ones(1, np.float32)}
    yield "quantized", "on_quantized", MEMORY + (Messages,), 3, replaced(**codes)
    for what, name in {"a number": 1, "a zero": "w\0", "no Unicode": "\ud800"}.items():
        yield f"name {what}", "on_unreadable", MEMORY, 3, replaced(**{}) | {name: model["w"]}
    for what, wrong in {"a list": [1], "nothing": None, "a number": 5, "no file": "nowhere.safetensors", "a zero in a path": "w\0", "no Unicode": "\udc80"}.items():
        yield f"model {what}", "on_unreadable", MEMORY, 3, wrong
    yield "said to be unreadable", "on_unreadable", (Plain,), 3, fedicu.Unreadable("its archive is broken.")
    update = fedicu.mask(RECEIVED, model, mask="top=0.5")
    other = fedicu.mask(model, RECEIVED, mask="top=0.5")
    yield "another base", "on_base", (Plain,), 3, other
    for what, broken in {
        "of a number": {**update.metadata, "fedicu.base": 3}, "of none": {**update.metadata, "fedicu.base": None}, "without Unicode": {**update.metadata, "x": "\ud800"},
        "of an unknown kind": {**update.metadata, "fedicu.update": "half"}, "without a shape": {"fedicu.update": "sparse", "fedicu.base": update.metadata["fedicu.base"]},
        "of a huge shape": {**update.metadata, "fedicu.shape.w": "[4611686018427387904]"}, "that is a list": [1],
    }.items():
        yield f"metadata {what}", "on_unreadable", (Plain,), 3, fedicu.MaskedUpdate(update.tensors, update.dtypes, broken)
    yield "a wrong label", "on_unreadable", (Plain,), 3, fedicu.MaskedUpdate(update.tensors, {**update.dtypes, "w#values": "F16"}, update.metadata)
    yield "a label of the same size", "on_unreadable", (Plain,), 3, fedicu.MaskedUpdate(update.tensors, {**update.dtypes, "w#values": "I32"}, update.metadata)
    for what, label in {"type": {"dtype": "float64"}, "size": {"dtype": "int32"}, "bits": {"dtype": "bfloat16"}, "nothing": {"dtype": "f99"}, "shape": {"shape": (5, 6)},
                        "serialization": {"stype": "torch"}, "order": {"dtype": ">f4"}}.items():
        array = flower.Array(model["w"])
        for key, value in label.items():
            setattr(array, key, value)
        yield f"label of another {what}", "on_unreadable", (Messages,), 3, replaced(w=array)


class FaultTests(unittest.TestCase):
    def replies(self, weight, model):
        return [(k, k + 1, TRAINED[k]) for k in range(FAULTY)] + [(FAULTY, weight, model)] + [(k, k + 1, TRAINED[k]) for k in range(FAULTY + 1, 5)]

    def setUp(self):
        # numpy warns of old headers before it refuses them
        warnings.simplefilter("ignore", UserWarning)
        logging.disable(logging.WARNING)
        self.addCleanup(logging.disable, logging.NOTSET)

    def test_the_round_goes_on_without_a_client_at_fault(self):
        others = [(f"c{k}", k + 1, TRAINED[k]) for k in range(5) if k != FAULTY]
        expected = fedicu.Aggregator("fedavg").aggregate(RECEIVED, others)
        for what, policy, ways, weight, model in faults():
            for way in ways:
                with self.subTest(what, way=way.__name__):
                    for settings in (DROP, {policy: "drop-client"}):
                        entry = way(quorum=1, **settings)
                        made = entry.run(self.replies(weight, model))
                        for name in RECEIVED:
                            np.testing.assert_array_equal(made[name], expected[name])
                        clients = entry.aggregator.report["clients"]
                        self.assertEqual([client["id"] for client in clients if not client["included"]], ["c2"])
                        self.assertRegex(clients[FAULTY]["reason"], "^Client 'c2'")
                        self.assertLess(len(clients[FAULTY]["reason"]), 1000)
                        if isinstance(entry, Messages):
                            self.assertEqual(entry.metrics, [0, 1, 3, 4])
                        if way is Models:
                            self.assertAlmostEqual(entry.metrics["loss"], (0 * 1 + 1 * 2 + 3 * 4 + 4 * 5) / 12)

    def test_the_round_is_refused_by_the_clients_name(self):
        for what, policy, ways, weight, model in faults():
            for way in ways:
                with self.subTest(what, way=way.__name__):
                    settings = {**DROP, policy: "reject"}
                    for entry in (way(), way(quorum=1, **settings)):
                        with self.assertRaises(fedicu.RoundRejectedError) as raised:
                            entry.run(self.replies(weight, model))
                        self.assertRegex(str(raised.exception), "^Client 'c2'")
                        if model is not TRAINED[FAULTY] and isinstance(model, dict) and policy not in ("on_extra", "on_missing") and "name" not in what:
                            self.assertRegex(str(raised.exception), "tensor '(w|0|q.weight)'")
                        self.assertLess(len(str(raised.exception)), 1000)

    def test_a_whole_round_has_everyones_metrics(self):
        for way in (Messages, Numbered, Models):
            entry = way()
            entry.run(self.replies(3, TRAINED[FAULTY]))
            self.assertEqual(entry.metrics, {"loss": 40 / 15} if way is Models else [0, 1, 2, 3, 4])

    def test_a_client_of_weight_0_has_no_part_in_metrics(self):
        for way in (Messages, Numbered, Models):
            entry = way()
            entry.run(self.replies(0, TRAINED[FAULTY]))
            self.assertEqual(entry.metrics, {"loss": 34 / 12} if way is Models else [0, 1, 3, 4])

    def test_fewer_than_the_quorum_are_refused(self):
        for way in (Plain, Messages, Numbered, Models, Shareables):
            with self.assertRaisesRegex(fedicu.RoundRejectedError, "4 of 5 clients remain; the quorum is 5"):
                way(quorum=5, **DROP).run(self.replies(-1, TRAINED[FAULTY]))
            with self.assertRaisesRegex(fedicu.RoundRejectedError, "No client remains"):
                way(quorum=1, **DROP).run([(0, -1, TRAINED[0])])

    def test_a_tensor_of_an_unknown_type_can_be_dropped_alone(self):
        made = Plain(on_dtype="drop-tensor").run(self.replies(3, replaced(w=TYPES["dates"])))
        np.testing.assert_array_equal(made["w"], RECEIVED["w"])
        expected = Plain().run(self.replies(3, TRAINED[FAULTY]))
        np.testing.assert_array_equal(made["b"], expected["b"])

    def test_what_nvflare_cannot_read_is_its_clients_fault(self):
        class Broken(dict):
            def get_peer_prop(self, key, default):
                return "c2"

        context = nvflare.Context(global_model={"weights": RECEIVED})
        good = nvflare.FLModel(nvflare.ParamsType.FULL, TRAINED[0], None, 1, {})
        good.get_peer_prop = lambda key, default: "c0"
        for broken, reason in (
            (Broken(), "its result cannot be read: "), (Broken(DXO=[1]), "its result cannot be read: "),
            (Broken(DXO={"kind": "STATISTICS", "data": TRAINED[2]}), "its result is of the kind 'STATISTICS'; WEIGHTS or WEIGHT_DIFF was expected"),
        ):
            entry = Shareables(quorum=1, on_unreadable="drop-client")
            for shareable in (broken, good):
                self.assertTrue(entry.nvflare.accept(shareable, context))
            made = entry.nvflare.aggregate_model()
            np.testing.assert_array_equal(made.params["w"], TRAINED[0]["w"])
            self.assertRegex(made.meta["fedicu_report"]["clients"][1]["reason"], f"^Client 'c2': {reason}")
            entry = Shareables()
            entry.nvflare.accept(broken, context)
            with self.assertRaisesRegex(fedicu.RoundRejectedError, f"^Client 'c2': {reason}"):
                entry.nvflare.aggregate_model()

    def test_the_form_that_most_send_stands_for_a_model_that_is_not_known(self):
        wrong = {"w": np.zeros((2, 2), np.float32), "b": TRAINED[0]["b"]}
        expected = fedicu.Aggregator("fedavg").aggregate(RECEIVED, [(f"c{k}", 1, TRAINED[k]) for k in (1, 2)])
        models = FedICUModelAggregator("fedavg", {"quorum": 1, **DROP})
        for k, model in enumerate([wrong, TRAINED[1], TRAINED[2]]):
            models.accept_model(nvflare.FLModel(nvflare.ParamsType.FULL, model, None, 1, {"client_name": f"c{k}"}))
        made = models.aggregate_model().params
        strategy = FedICU(aggregator=fedicu.Aggregator("fedavg", quorum=1, **DROP))
        arrays, _ = strategy.aggregate_train(1, [flower.reply(f"c{k}", model, 1) for k, model in enumerate([wrong, TRAINED[1], TRAINED[2]])])
        for name in RECEIVED:
            np.testing.assert_array_equal(made[name], expected[name])
            np.testing.assert_array_equal(flower.loaded(arrays)[name], expected[name])

    def test_metrics_that_not_all_state_are_left_out(self):
        for odd in ({"accuracy": 1.0}, {"loss": [1.0, 2.0]}):
            seen = []
            strategy = FedICU(aggregator="fedavg", train_metrics_aggr_fn=lambda contents, key: seen.extend(set(c.metric_records["metrics"]) for c in contents) or {})
            replies = [flower.reply(k, TRAINED[k], 1) for k in range(2)]
            for message in replies:
                message.content.metric_records["metrics"]["loss"] = 1.0
            replies[1].content.metric_records["metrics"].update(odd)
            strategy.configure_train(1, flower.record(RECEIVED), {}, None)
            strategy.aggregate_train(1, replies)
            self.assertEqual(seen, [{"num-examples", "loss"} - set(odd)] * 2)


if __name__ == "__main__":
    unittest.main()
