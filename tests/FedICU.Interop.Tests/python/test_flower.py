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
        with self.assertRaisesRegex(fedicu.RoundRejectedError, "Client '7': tensor 'w': its 100 bytes are not an array"):
            flower.aggregate_train(1, [cut])
        for shape in ((2**70,), (2**32, 2**32), (-1, 4)):
            broken, header = reply(7, trained, 1), io.BytesIO()
            np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
            broken.content.array_records["arrays"]["w"].data = header.getvalue() + bytes(64)
            with self.assertRaisesRegex(fedicu.RoundRejectedError, "Client '7': tensor 'w': its 192 bytes are not an array"):
                flower.aggregate_train(1, [broken])
        from fedicu._wire import pack

        update = fedicu.mask(received, trained, mask="top=0.25")
        packed = pack(update, received)
        with self.assertRaisesRegex(fedicu.RoundRejectedError, "Client '7': tensor 'w': 150 packed bytes"):
            flower.aggregate_train(1, [reply(7, {**packed, "w": packed["w"][:150]}, 1)])
        with self.assertRaisesRegex(fedicu.RoundRejectedError, "[Cc]lient '7'.*'w'.*values where its mask has"):
            flower.aggregate_train(1, [reply(7, {**packed, "w": np.delete(packed["w"], slice(80, 84))}, 1)])
        other = fedicu.mask(trained, received, mask="top=0.25")
        with self.assertRaisesRegex(fedicu.RoundRejectedError, "[Cc]lient '7'"):
            flower.aggregate_train(1, [reply(7, pack(other, received), 1)])
        pickled = reply(7, trained, 1)
        pickled.content.array_records["arrays"]["w"].stype = "pickle"
        with self.assertRaisesRegex(fedicu.RoundRejectedError, "Client '7': tensor 'w' is serialized as 'pickle'"):
            flower.aggregate_train(1, [pickled])
        with self.assertRaisesRegex(fedicu.RoundRejectedError, "[Cc]lient '7'"):
            flower.aggregate_train(1, [reply(7, {**trained, "w": trained["w"][:5]}, 1)])
        for kind in ("array", "metric"):
            for count in (0, 2):
                odd = reply(7, trained, 1)
                records = getattr(odd.content, f"{kind}_records")
                records.update({str(i): records["arrays" if kind == "array" else "metrics"] for i in range(count)})
                records.pop("arrays" if kind == "array" else "metrics")
                with self.assertRaisesRegex(fedicu.RoundRejectedError, f"Client '7': its reply has {count} {kind.capitalize()}Records; one was expected"):
                    flower.aggregate_train(1, [odd])
        with self.assertRaisesRegex(fedicu.WrongStateError, "configure_train"):
            FedICU(aggregator="fedicu").aggregate_train(1, [reply(7, trained, 1)])
        unknown = FedICU(aggregator="fedavg")
        np.testing.assert_array_equal(loaded(unknown.aggregate_train(1, [reply(7, trained, 1)])[0])["w"], trained["w"])
        with self.assertRaisesRegex(fedicu.RoundRejectedError, "Client '7': tensor 'w' is packed"):
            unknown.aggregate_train(1, [reply(7, packed, 1)])
        with self.assertRaisesRegex(fedicu.InvalidArgumentError, "^The global model: tensor 'w' is serialized as 'pickle'"):
            flower.configure_train(1, record(received), {}, None)
            flower._received["w"].stype = "pickle"
            flower.aggregate_train(1, [reply(7, trained, 1)])


def bfloat16(array, form="<u2"):
    """The array's upper halves, labelled as people label them."""
    bits = (array.astype(np.float32).view(np.uint32) >> 16).astype("<u2")
    payload = bits.view("V2") if form == "V2" else bits.astype(form)
    return flower.Array(dtype="bfloat16", shape=payload.shape, stype="numpy.ndarray", data=saved(payload))


def widened(array):
    """The values of what :func:`bfloat16` labels."""
    payload = array.numpy()
    bits = payload.view(np.uint16) if payload.dtype.kind == "V" else payload.astype(np.uint16)
    return (bits.astype(np.uint32) << 16).view(np.float32)


class LabelTests(unittest.TestCase):
    def round(self, strategy, received, *clients, weights=(1, 3)):
        own = FedICU(aggregator=strategy)
        own.configure_train(1, flower.ArrayRecord({"w": received}), {}, None)
        replies = []
        for k, array in enumerate(clients):
            replies.append(reply(k, {}, weights[k]))
            replies[-1].content.array_records["arrays"]["w"] = array
        return own.aggregate_train(1, replies)[0]["w"]

    def test_bfloat16_is_averaged_as_its_label_says(self):
        received, *trained = (model["w"] for model in models(3))
        for form in ("<u2", ">u2", "V2"):
            arrays = [bfloat16(trained[0], form), bfloat16(trained[1], form)]
            made = self.round("fedavg", bfloat16(received, form), *arrays)
            self.assertEqual((made.dtype, made.shape, made.stype), ("bfloat16", (40, 30), "numpy.ndarray"))
            self.assertEqual(made.numpy().dtype, np.dtype("V2") if form == "V2" else np.dtype("<u2"))
            exact = (widened(arrays[0]).astype(np.float64) + 3 * widened(arrays[1])) / 4
            np.testing.assert_allclose(widened(made), exact, rtol=2**-8, atol=0)
            # against the library's own bf16, which files can hold
            np.testing.assert_array_equal(widened(self.round("fedavg", bfloat16(received, form), arrays[0])), widened(arrays[0]))

    def test_labels_of_the_model_decide_what_comes_back(self):
        received, trained = (model["w"] for model in models(2))
        made = self.round("fedavg", bfloat16(received), flower.Array(trained))
        self.assertEqual((made.dtype, made.numpy().dtype), ("bfloat16", np.uint16))
        np.testing.assert_allclose(widened(made), trained, rtol=2**-8, atol=0)
        made = self.round("fedavg", flower.Array(received), bfloat16(trained))
        self.assertEqual((made.dtype, made.numpy().dtype), ("float32", np.float32))
        np.testing.assert_array_equal(made.numpy(), widened(bfloat16(trained)))
        made = self.round("fedavg", flower.Array(received.astype(">f4")), flower.Array(trained.astype(">f4")))
        self.assertEqual((made.dtype, made.numpy().dtype), ("float32", np.float32))
        np.testing.assert_array_equal(made.numpy(), trained)

    def test_integers_that_are_labelled_so_stay_integers(self):
        made = self.round("fedavg", flower.Array(np.zeros(2, np.uint16)), flower.Array(np.array([2, 16000], np.uint16)), flower.Array(np.array([6, 16000], np.uint16)))
        self.assertEqual((made.dtype, made.numpy().tolist()), ("uint16", [5, 16000]))
        with self.assertRaisesRegex(fedicu.RoundRejectedError, "Client '0': tensor 'w' has the type U16; a float type"):
            self.round("fedavg", bfloat16(np.zeros(2)), flower.Array(np.zeros(2, np.uint16)))

    def test_other_names_of_a_type_and_no_label_agree_with_it(self):
        received, trained = (model["w"] for model in models(2))
        for label in ("float32", "<f4", "f4", "single", "torch.float32", ""):
            array = flower.Array(trained)
            array.dtype = label
            np.testing.assert_array_equal(self.round("fedavg", flower.Array(received), array).numpy(), trained)
        # numbered parameters come without any
        array.shape = ()
        np.testing.assert_array_equal(self.round("fedavg", flower.Array(received), array).numpy(), trained)
        bare = flower.Array(dtype="", shape=(), stype="numpy.ndarray", data=saved(received))
        made = self.round("fedavg", bare, array)
        self.assertEqual((made.dtype, made.shape), ("", ()))

    def test_what_contradicts_its_label_is_refused(self):
        received, trained = (model["w"] for model in models(2))
        for change, sentence in (
            ({"dtype": "float64"}, "is labelled 'float64'; its bytes are float32"), ({"dtype": ">f4"}, "is labelled '>f4'; its bytes are float32"),
            ({"dtype": "bfloat16"}, "is labelled 'bfloat16'; its bytes are float32"), ({"dtype": "f16"}, "is labelled 'f16'; its bytes are float32"),
            ({"shape": (30, 40)}, r"is labelled with the shape \(30, 40\); its bytes have \(40, 30\)"), ({"shape": ()}, r"is labelled with the shape \(\)"),
            ({"stype": "torch"}, "is serialized as 'torch'; 'numpy.ndarray' was expected"),
        ):
            array = flower.Array(trained)
            for name, value in change.items():
                setattr(array, name, value)
            with self.assertRaisesRegex(fedicu.RoundRejectedError, f"^Client '0': tensor 'w' {sentence}"):
                self.round("fedavg", flower.Array(received), array)
            with self.assertRaisesRegex(fedicu.InvalidArgumentError, f"^The global model: tensor 'w' {sentence}"):
                self.round("fedavg", array, flower.Array(trained))
        signed = bfloat16(trained, "<i2")
        with self.assertRaisesRegex(fedicu.RoundRejectedError, "^Client '0': tensor 'w' is labelled 'bfloat16'; its bytes are int16"):
            self.round("fedavg", bfloat16(received), signed)

    def test_the_mod_masks_bfloat16(self):
        received, trained = (model["w"] for model in models(2))
        for ratio in (0.25, 1):
            answer = reply(0, {}, 1)
            answer.has_error = lambda: False
            answer.content.array_records["arrays"]["w"] = bfloat16(trained)
            message = types.SimpleNamespace(
                metadata=types.SimpleNamespace(message_type="train"),
                content=types.SimpleNamespace(array_records={"arrays": flower.ArrayRecord({"w": bfloat16(received)})}, config_records={}))
            context = types.SimpleNamespace(state=types.SimpleNamespace(array_records={}))
            sent = FedICUMod(keep_momentum=True, mask=f"top={ratio}")(message, context, lambda message, context: answer).content.array_records["arrays"]["w"]
            self.assertEqual(sent.dtype, "uint8" if ratio < 1 else "bfloat16")
            self.assertEqual(context.state.array_records["fedicu.momentum"]["w"].dtype, "float32")
            made = widened(self.round("fedavg", bfloat16(received), sent))
            changed = made != widened(bfloat16(received))
            self.assertEqual(changed.mean(), ratio)
            np.testing.assert_array_equal(made[changed], widened(bfloat16(trained))[changed])

    def test_every_byte_order_and_form_is_read(self):
        from test_fedicu import forms

        for shape in ((), (0,), (4, 5)):
            received, trained = np.zeros(shape, np.float32), np.arange(1, 1 + int(np.prod(shape)), dtype=np.float32).reshape(shape)
            for name, array in forms(trained).items():
                with self.subTest(name, shape=shape):
                    made = self.round("fedavg", flower.Array(forms(received)[name]), flower.Array(array))
                    self.assertEqual((made.dtype, made.shape), ("float32", shape))
                    np.testing.assert_array_equal(made.numpy(), trained)
                    older = LegacyFedICU(aggregator="fedavg")
                    older.configure_fit(1, Parameters([saved(forms(received)[name])], "numpy.ndarray"), None)
                    result = types.SimpleNamespace(num_examples=1, metrics={}, parameters=Parameters([saved(array)], "numpy.ndarray"))
                    parameters, _ = older.aggregate_fit(1, [(types.SimpleNamespace(cid="a"), result)], [])
                    np.testing.assert_array_equal(np.load(io.BytesIO(parameters.tensors[0])), trained)

    def test_the_older_api_has_no_labels(self):
        older = LegacyFedICU(aggregator="fedavg")
        older.configure_fit(1, Parameters([saved(np.zeros(2, np.uint16))], "numpy.ndarray"), None)
        for array, sentence in ((np.zeros(2, "V2"), "^Client 'a': tensor '0' has the type void16"), (np.zeros(2, "f4"), "^Client 'a': tensor '0' has the type F32")):
            result = types.SimpleNamespace(num_examples=1, metrics={}, parameters=Parameters([saved(array)], "numpy.ndarray"))
            with self.assertRaisesRegex(fedicu.RoundRejectedError, sentence):
                older.aggregate_fit(1, [(types.SimpleNamespace(cid="a"), result)], [])


if __name__ == "__main__":
    unittest.main()
