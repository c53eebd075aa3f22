"""The Flower strategies and the client mod, against stand-ins for Flower's classes."""

import io
import types
import unittest

import numpy as np

from standin_flower import Parameters, context, failed_reply, fit_result, loaded, record, reply, saved, train_message

import fedicu
from fedicu._wire import pack
from fedicu.flower import FedICU, FedICUMod, LegacyFedICU


def models(count):
    random = np.random.default_rng(2)
    return [
        {
            "w": random.standard_normal((40, 30)).astype(np.float32),
            "n": np.asarray(3, dtype=np.int64),
            "b": random.standard_normal(9).astype(np.float16),
        }
        for _ in range(count)
    ]


class FlowerTests(unittest.TestCase):
    def test_a_round_equals_the_librarys_bit_for_bit(self):
        for strategy in ("fedavg", "fedicu"):
            received, *trained = models(4)
            updates = [(str(100 + k), 10 * (k + 1), trained[k]) for k in range(3)]
            expected = fedicu.Aggregator(strategy).aggregate(received, updates)
            own = FedICU(aggregator=strategy)
            self.assertEqual(own.configure_train(2, record(received), {}, None), [2])
            replies = [reply(100 + k, trained[k], 10 * (k + 1)) for k in range(3)]
            arrays, metrics = own.aggregate_train(2, replies + [failed_reply(9)])
            self.assertEqual(list(arrays), list(received))
            for name, array in loaded(arrays).items():
                np.testing.assert_array_equal(array, expected[name])
                self.assertEqual((arrays[name].dtype, arrays[name].shape), (str(received[name].dtype), received[name].shape))
            self.assertEqual(metrics, {"loss": 1.5, "fedicu-included": 3, "fedicu-left-out": 0})
            self.assertEqual(own.aggregator.report["round"], 2)

    def test_a_round_of_the_older_api_equals_the_librarys(self):
        received, *trained = models(3)
        own = LegacyFedICU(aggregator="fedavg")
        own.configure_fit(1, Parameters([saved(array) for array in received.values()], "numpy.ndarray"), None)
        results = [fit_result(f"c{k}", trained[k].values(), k + 1) for k in range(2)]
        parameters, metrics = own.aggregate_fit(1, results, [])
        expected = fedicu.Aggregator("fedavg").aggregate(received, [(f"c{k}", k + 1, trained[k]) for k in range(2)])
        for data, array in zip(parameters.tensors, expected.values()):
            np.testing.assert_array_equal(np.load(io.BytesIO(data), allow_pickle=False), array)
        self.assertEqual(metrics["fedicu-included"], 2)
        self.assertEqual(own.aggregate_fit(1, [], []), (None, {}))

    def test_what_the_mod_sends_aggregates_like_fedicu_masks_updates(self):
        for strategy, keeps in (("fedavg", True), ("fedicu", True), ("fedicu", False)):
            with self.subTest(strategy, keeps_momentum=keeps):
                self.run_masked_rounds(strategy, keeps, {"mask": "top=0.25", "beta": 0.5})

    def run_masked_rounds(self, strategy, keeps, settings):
        """Two rounds of two clients."""
        received, *trained = models(5)
        own, plain = FedICU(aggregator=strategy), fedicu.Aggregator(strategy)
        contexts = [context() for _ in range(2)]
        momenta, expected = [None, None], received
        for server_round in (1, 2):
            own.configure_train(server_round, record(received), {}, None)
            replies, updates = [], []
            for k in range(2):
                model = trained[2 * server_round - 2 + k]

                def app(message, context):
                    message.content.array_records.clear()
                    made = reply(k, model, k + 1)
                    made.has_error = lambda: False
                    return made

                message = train_message(received, {"config": {"server-round": server_round, "fedicu-mask": 1}})
                replies.append(FedICUMod(keep_momentum=keeps, **settings)(message, contexts[k], app))
                update = fedicu.mask(expected, model, momenta[k], keep_momentum=keeps, round=server_round, **settings)
                updates.append((str(k), k + 1, update))
                momenta[k] = update.momentum or None
                self.assertEqual(bool(contexts[k].state.array_records), keeps)
                sent = replies[-1].content.array_records["arrays"]
                self.assertEqual(list(sent), list(received))
                self.assertLess(len(sent["w"].data), 0.4 * len(saved(model["w"])))
            arrays, _ = own.aggregate_train(server_round, replies)
            expected = plain.aggregate(expected, updates, round=server_round)
            received = loaded(arrays)
            for name in received:
                np.testing.assert_array_equal(received[name], expected[name])

    def test_the_older_api_takes_masked_updates(self):
        received, trained = models(2)
        numbered = [{str(i): array for i, array in enumerate(model.values())} for model in (received, trained)]
        message = train_message({}, {"fitins.config": {"fedicu-mask": 1}})
        message.content.array_records = {"fitins.parameters": record(numbered[0])}
        answer = types.SimpleNamespace(
            has_error=lambda: False, content=types.SimpleNamespace(array_records={"fitres.parameters": record(numbered[1])}))
        masked = FedICUMod(mask="top=0.25")(message, context(), lambda message, context: answer)
        sent = masked.content.array_records["fitres.parameters"]
        own = LegacyFedICU(aggregator="fedavg")
        own.configure_fit(1, Parameters([saved(array) for array in received.values()], "numpy.ndarray"), None)
        client, result = fit_result("a", [])
        result.parameters = Parameters([array.data for array in sent.values()], "numpy.ndarray")
        parameters, _ = own.aggregate_fit(1, [(client, result)], [])
        update = fedicu.mask(received, trained, mask="top=0.25")
        expected = fedicu.Aggregator("fedavg").aggregate(received, [("a", 1, update)])
        for data, array in zip(parameters.tensors, expected.values()):
            np.testing.assert_array_equal(np.load(io.BytesIO(data), allow_pickle=False), array)

    def test_wrong_settings_are_refused_at_construction(self):
        for wrong in ({"mask": "tpo=0.25"}, {"maks": "hard"}):
            with self.assertRaises(fedicu.InvalidOptionsError):
                FedICUMod(**wrong)
        with self.assertRaisesRegex(fedicu.InvalidArgumentError, "aggregator is an int"):
            FedICU(aggregator=3)

    def test_the_mod_does_not_change_other_messages(self):
        message = types.SimpleNamespace(metadata=types.SimpleNamespace(message_type="evaluate"))
        self.assertEqual(FedICUMod()(message, None, lambda message, context: "reply"), "reply")
        message = train_message(models(1)[0])
        failed = types.SimpleNamespace(has_error=lambda: True)
        self.assertIs(FedICUMod()(message, None, lambda message, context: failed), failed)
        message.content.array_records["more"] = record(models(1)[0])
        with self.assertRaisesRegex(fedicu.InvalidArgumentError, "2 ArrayRecords"):
            FedICUMod()(message, None, lambda message, context: failed)

    def test_no_replies_give_no_result(self):
        self.assertEqual(FedICU(aggregator="fedavg").aggregate_train(1, []), (None, None))


class BrokenReplyTests(unittest.TestCase):
    def setUp(self):
        self.received, self.trained = models(2)
        self.strategy = FedICU(aggregator="fedavg")
        self.strategy.configure_train(1, record(self.received), {}, None)

    def refuses(self, message, broken, strategy=None):
        with self.assertRaisesRegex(fedicu.RoundRejectedError, message):
            (strategy or self.strategy).aggregate_train(1, [broken])

    def test_bytes_that_are_not_an_array_are_refused(self):
        cut = reply(7, self.trained, 1)
        cut.content.array_records["arrays"]["w"].data = cut.content.array_records["arrays"]["w"].data[:100]
        self.refuses("Client '7': tensor 'w': its 100 bytes are not an array", cut)
        for shape in ((2**70,), (2**32, 2**32), (-1, 4)):
            broken, header = reply(7, self.trained, 1), io.BytesIO()
            np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
            broken.content.array_records["arrays"]["w"].data = header.getvalue() + bytes(64)
            self.refuses("Client '7': tensor 'w': its 192 bytes are not an array", broken)
        pickled = reply(7, self.trained, 1)
        pickled.content.array_records["arrays"]["w"].stype = "pickle"
        self.refuses("Client '7': tensor 'w' is serialized as 'pickle'", pickled)
        self.refuses("[Cc]lient '7'", reply(7, {**self.trained, "w": self.trained["w"][:5]}, 1))

    def test_broken_packed_tensors_are_refused(self):
        packed = pack(fedicu.mask(self.received, self.trained, mask="top=0.25"), self.received)
        self.refuses("Client '7': tensor 'w': 150 packed bytes", reply(7, {**packed, "w": packed["w"][:150]}, 1))
        fewer = np.delete(packed["w"], slice(80, 84))
        self.refuses("[Cc]lient '7'.*'w'.*values, but its mask has", reply(7, {**packed, "w": fewer}, 1))
        other = fedicu.mask(self.trained, self.received, mask="top=0.25")
        self.refuses("[Cc]lient '7'", reply(7, pack(other, self.received), 1))
        self.refuses("Client '7': tensor 'w' is packed", reply(7, packed, 1), FedICU(aggregator="fedavg"))

    def test_a_reply_must_have_one_record_of_each_kind(self):
        for kind, key in (("array", "arrays"), ("metric", "metrics")):
            for count in (0, 2):
                odd = reply(7, self.trained, 1)
                records = getattr(odd.content, f"{kind}_records")
                records.update({str(i): records[key] for i in range(count)})
                records.pop(key)
                self.refuses(f"Client '7': its reply has {count} {kind.capitalize()}Records; one was expected", odd)

    def test_only_fedavg_works_without_the_received_model(self):
        with self.assertRaisesRegex(fedicu.WrongStateError, "configure_train"):
            FedICU(aggregator="fedicu").aggregate_train(1, [reply(7, self.trained, 1)])
        arrays, _ = FedICU(aggregator="fedavg").aggregate_train(1, [reply(7, self.trained, 1)])
        np.testing.assert_array_equal(loaded(arrays)["w"], self.trained["w"])

    def test_a_broken_received_model_is_an_argument_error(self):
        self.strategy._received["w"].stype = "pickle"
        with self.assertRaisesRegex(fedicu.InvalidArgumentError, "^The global model: tensor 'w' is serialized as 'pickle'"):
            self.strategy.aggregate_train(1, [reply(7, self.trained, 1)])


if __name__ == "__main__":
    unittest.main()
