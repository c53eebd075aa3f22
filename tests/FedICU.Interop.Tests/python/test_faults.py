"""Every kind of fault of one client among five, through every way into the library.

The policies decide about the client. If they drop it, the round goes on with the others.
"""

import logging
import unittest
import warnings

import numpy as np

import standin_flower as flower
import standin_nvflare as nvflare
from faults import (
    DROP, FAULTY, RECEIVED, TRAINED, TYPES, Messages, Models, Numbered, Plain, Shareables, faults, replaced,
)

import fedicu
from fedicu.flower import FedICU
from fedicu.nvflare import FedICUModelAggregator


class FaultTests(unittest.TestCase):
    def replies(self, weight, model):
        """The replies of five clients, of which the faulty one has this weight and model."""
        replies = [(k, k + 1, TRAINED[k]) for k in range(5)]
        replies[FAULTY] = (FAULTY, weight, model)
        return replies

    def setUp(self):
        # numpy warns about old headers before it refuses them
        warnings.simplefilter("ignore", UserWarning)
        logging.disable(logging.WARNING)
        self.addCleanup(logging.disable, logging.NOTSET)

    def test_the_round_goes_on_without_a_dropped_client(self):
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

    def test_a_refusal_names_the_client(self):
        for what, policy, ways, weight, model in faults():
            for way in ways:
                with self.subTest(what, way=way.__name__):
                    settings = {**DROP, policy: "reject"}
                    for entry in (way(), way(quorum=1, **settings)):
                        with self.assertRaises(fedicu.RoundRejectedError) as raised:
                            entry.run(self.replies(weight, model))
                        self.assertRegex(str(raised.exception), "^Client 'c2'")
                        about_a_tensor = policy not in ("on_extra", "on_missing") and "name" not in what
                        if model is not TRAINED[FAULTY] and isinstance(model, dict) and about_a_tensor:
                            self.assertRegex(str(raised.exception), "tensor '(w|0|q.weight)'")
                        self.assertLess(len(str(raised.exception)), 1000)

    def test_a_whole_round_has_all_clients_metrics(self):
        for way in (Messages, Numbered, Models):
            entry = way()
            entry.run(self.replies(3, TRAINED[FAULTY]))
            self.assertEqual(entry.metrics, {"loss": 40 / 15} if way is Models else [0, 1, 2, 3, 4])

    def test_a_client_of_weight_0_does_not_change_the_metrics(self):
        for way in (Messages, Numbered, Models):
            entry = way()
            entry.run(self.replies(0, TRAINED[FAULTY]))
            self.assertEqual(entry.metrics, {"loss": 34 / 12} if way is Models else [0, 1, 3, 4])

    def test_fewer_clients_than_the_quorum_are_refused(self):
        for way in (Plain, Messages, Numbered, Models, Shareables):
            with self.assertRaisesRegex(fedicu.RoundRejectedError, "4 of 5 clients remain; the quorum is 5"):
                way(quorum=5, **DROP).run(self.replies(-1, TRAINED[FAULTY]))
            with self.assertRaisesRegex(fedicu.RoundRejectedError, "No client remains"):
                way(quorum=1, **DROP).run([(0, -1, TRAINED[0])])

    def test_only_a_tensor_of_an_unknown_type_can_be_dropped(self):
        made = Plain(on_dtype="drop-tensor").run(self.replies(3, replaced(w=TYPES["dates"])))
        np.testing.assert_array_equal(made["w"], RECEIVED["w"])
        expected = Plain().run(self.replies(3, TRAINED[FAULTY]))
        np.testing.assert_array_equal(made["b"], expected["b"])

    def test_a_result_that_nvflare_cannot_read_is_its_clients_fault(self):
        class Broken(dict):
            def get_peer_prop(self, key, default):
                return "c2"

        context = nvflare.Context(global_model={"weights": RECEIVED})
        good = nvflare.FLModel(nvflare.ParamsType.FULL, TRAINED[0], None, 1, {})
        good.get_peer_prop = lambda key, default: "c0"
        for broken, reason in (
            (Broken(), "its result cannot be read: "), (Broken(DXO=[1]), "its result cannot be read: "),
            (
                Broken(DXO={"kind": "STATISTICS", "data": TRAINED[2]}),
                "its result is of the kind 'STATISTICS'; WEIGHTS or WEIGHT_DIFF was expected",
            ),
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

    def test_without_the_received_model_the_most_common_form_counts(self):
        wrong = {"w": np.zeros((2, 2), np.float32), "b": TRAINED[0]["b"]}
        expected = fedicu.Aggregator("fedavg").aggregate(RECEIVED, [(f"c{k}", 1, TRAINED[k]) for k in (1, 2)])
        models = FedICUModelAggregator("fedavg", {"quorum": 1, **DROP})
        sent = [wrong, TRAINED[1], TRAINED[2]]
        for k, model in enumerate(sent):
            models.accept_model(nvflare.FLModel(nvflare.ParamsType.FULL, model, None, 1, {"client_name": f"c{k}"}))
        made = models.aggregate_model().params
        strategy = FedICU(aggregator=fedicu.Aggregator("fedavg", quorum=1, **DROP))
        arrays, _ = strategy.aggregate_train(1, [flower.reply(f"c{k}", model, 1) for k, model in enumerate(sent)])
        for name in RECEIVED:
            np.testing.assert_array_equal(made[name], expected[name])
            np.testing.assert_array_equal(flower.loaded(arrays)[name], expected[name])

    def test_metrics_that_not_all_clients_have_are_left_out(self):
        for odd in ({"accuracy": 1.0}, {"loss": [1.0, 2.0]}):
            seen = []

            def mean(contents, key):
                seen.extend(set(content.metric_records["metrics"]) for content in contents)
                return {}

            strategy = FedICU(aggregator="fedavg", train_metrics_aggr_fn=mean)
            replies = [flower.reply(k, TRAINED[k], 1) for k in range(2)]
            for message in replies:
                message.content.metric_records["metrics"]["loss"] = 1.0
            replies[1].content.metric_records["metrics"].update(odd)
            strategy.configure_train(1, flower.record(RECEIVED), {}, None)
            strategy.aggregate_train(1, replies)
            self.assertEqual(seen, [{"num-examples", "loss"} - set(odd)] * 2)


if __name__ == "__main__":
    unittest.main()
