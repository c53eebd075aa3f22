"""Flower: strategies by name, what clients state, and masked updates that meet something that cannot read them."""

import contextlib
import io
import pathlib
import sys
import tomllib
import types
import unittest

import numpy as np

from standin_flower import FedAvg, Grid, Parameters, context, fit_result, loaded, record, reply, saved, train_message

import fedicu
from fedicu import _npy
from fedicu.flower import FedICU, FedICUMod, LegacyFedICU


def models(count):
    random = np.random.default_rng(2)
    return [{"w": random.standard_normal((40, 30)).astype(np.float32), "b": random.standard_normal(9)} for _ in range(count)]


def configure(strategy, received):
    """Begins a round. Returns the configuration that the clients receive."""
    config = {}
    strategy.configure_train(1, record(received), config, None)
    return config


def masked_reply(message, node, trained):
    return FedICUMod(mask="top=0.25")(message, context(), lambda message, context: reply(node, trained, 1))


class NamedStrategyTests(unittest.TestCase):
    def test_a_strategys_options_are_arguments(self):
        received, *trained = models(3)
        sent = [(str(k), 10 * (k + 1), trained[k]) for k in range(2)]
        for strategy, settings in (("fedadam", {"server_lr": 0.5}), ("median", {}), ("median,fedadam", {"fedadam.tau": 0.5})):
            own = FedICU(strategy=strategy, fraction_train=0.5, **settings)
            expected = fedicu.Aggregator(strategy, **settings).aggregate(received, sent)
            configure(own, received)
            made, _ = own.aggregate_train(1, [reply(k, trained[k], 10 * (k + 1)) for k in range(2)])
            for name, array in loaded(made).items():
                np.testing.assert_array_equal(array, expected[name])
        self.assertEqual(repr(FedICU(strategy="fedadam", settings={"tau": 0.5}, server_lr=1).aggregator),
                         "Aggregator('fedadam', tau=0.5, server_lr=1)")
        self.assertEqual(LegacyFedICU(strategy="fedadam", min_fit_clients=4).min_fit_clients, 4)
        with self.assertRaisesRegex(fedicu.InvalidOptionsError, "'fraction-trian' is unknown"):
            FedICU(fraction_trian=1)
        for wrong in ({"strategy": "fedavg"}, {"settings": {"tau": 1}}, {"tau": 1}):
            with self.assertRaisesRegex(fedicu.InvalidArgumentError, "together with a strategy"):
                FedICU(aggregator=fedicu.Aggregator("fedicu"), **wrong)

    def test_clients_receive_the_strength_of_the_proximal_term(self):
        received = models(1)[0]
        for own, mu in (
            (FedICU(strategy="fedprox", mu=0.3), 0.3), (FedICU(aggregator="fedprox"), 0.01),
            (FedICU(aggregator=fedicu.Aggregator("fedprox", mu=2)), 2.0), (FedICU(strategy="fedprox,fedadam", **{"fedprox.mu": 1}), 1.0),
        ):
            self.assertEqual(configure(own, received), {"fedicu-mask": 1, "proximal-mu": mu})
        self.assertEqual(configure(FedICU(), received), {"fedicu-mask": 1})

    def test_statements_are_read_from_the_clients_metrics(self):
        received, *trained = models(3)
        for strategy, key, field, values, more in (
            ("fednova", "local-steps", "local_steps", [5, 20], {}), ("qfedavg", "loss", "loss", [0.5, 2.0], {}),
            ("fedbuff", "staleness", "staleness", [0, 3], {}), ("fednova", "normalizer", "normalizer", [1.5, 4.0], {}),
            ("qfedavg", "train_loss", "loss", [0.5, 2.0], {"statement_keys": {"loss": "train_loss"}}),
        ):
            updates = [fedicu.Update(str(k), 1, trained[k], **{field: values[k]}) for k in range(2)]
            expected = fedicu.Aggregator(strategy).aggregate(received, updates)
            own = FedICU(strategy=strategy, **more)
            configure(own, received)
            replies = [reply(k, trained[k], 1) for k in range(2)]
            for k, sent in enumerate(replies):
                sent.content.metric_records["metrics"][key] = values[k]
            made, _ = own.aggregate_train(1, replies)
            older = LegacyFedICU(strategy=strategy, **more)
            older.configure_fit(1, Parameters([saved(array) for array in received.values()], "numpy.ndarray"), None)
            results = [fit_result(str(k), trained[k].values()) for k in range(2)]
            for k, (_, result) in enumerate(results):
                result.metrics[key] = values[k]
            parameters, _ = older.aggregate_fit(1, results, [])
            for name, data in zip(received, parameters.tensors):
                np.testing.assert_array_equal(loaded(made)[name], expected[name])
                np.testing.assert_array_equal(_npy.view(name, "numpy.ndarray", data), expected[name])
        with self.assertRaisesRegex(fedicu.RoundRejectedError, "Client '0': local_steps is missing"):
            own = FedICU(strategy="fednova")
            configure(own, received)
            own.aggregate_train(1, [reply(0, trained[0], 1)])
        with self.assertRaisesRegex(fedicu.InvalidArgumentError, "statement_keys has 'lost'"):
            FedICU(statement_keys={"lost": "x"})


class HandshakeTests(unittest.TestCase):
    def setUp(self):
        self.received, *self.trained = models(3)

    def test_the_mod_raises_before_training_if_the_server_did_not_ask(self):
        def train(message, context):
            self.fail("the app trained")

        for config in ({"config": {}}, {"config": {"fedicu-mask": 0}}, {}):
            with self.assertRaisesRegex(fedicu.WrongStateError, "^The server did not ask for masked updates: 'fedicu-mask' is not in"):
                FedICUMod()(train_message(self.received, config), context(), train)

    def test_a_strategy_refuses_masks_that_it_did_not_ask_for(self):
        own = FedICU(accept_masks=False)
        self.assertEqual(configure(own, self.received), {"fedicu-mask": 0})
        with self.assertRaisesRegex(fedicu.RoundRejectedError, "^Client '7': it sent a masked update, but the strategy has accept_masks"):
            own.aggregate_train(1, [masked_reply(train_message(self.received), 7, self.trained[0])])
        older = LegacyFedICU(accept_masks=False)
        parameters = Parameters([saved(array) for array in self.received.values()], "numpy.ndarray")
        [(_, instructions)] = older.configure_fit(1, parameters, None)
        self.assertEqual(instructions.config, {"fedicu-mask": 0})

    def test_nothing_else_can_read_a_masked_update(self):
        # what numpy says, which Flower's strategies, wrappers and mods raise, since they read arrays by numpy
        sent = masked_reply(train_message(self.received), 7, self.trained[0]).content.array_records["arrays"]
        for array in sent.values():
            with self.assertRaisesRegex(ValueError, "a masked update of FedICUMod that only fedicu.flower's own strat"):
                array.numpy()

    def test_a_wrapper_that_clips_replies_fails_before_it_averages(self):
        """As Flower's DifferentialPrivacyServerSideFixedClipping does: it reads each reply before the strategy does."""
        own = FedICU(aggregator="fedavg")
        configure(own, self.received)
        replies = [masked_reply(train_message(self.received), k, model) for k, model in enumerate(self.trained)]
        with self.assertRaisesRegex(ValueError, "that only fedicu.flower's own strategies can read"):
            for sent in replies:
                for arrays in sent.content.array_records.values():
                    clipped = [array.numpy() for array in arrays.values()]
            self.fail(f"{clipped} were read")
        # the strategy itself reads them
        self.assertEqual(own.aggregate_train(1, replies)[1]["fedicu-included"], 2)


class MixinTests(unittest.TestCase):
    def test_flowers_optimizers_step_after_our_aggregation(self):
        class Halving(FedAvg):
            """As Flower's FedOpt: it remembers the model that was sent, and moves from it to the aggregated one."""

            def __init__(self, *, fraction_train=1.0, eta=0.5):
                super().__init__(fraction_train=fraction_train)
                self.eta = eta

            def configure_train(self, server_round, arrays, config, grid):
                self.current = loaded(arrays)
                return super().configure_train(server_round, arrays, config, grid)

            def aggregate_train(self, server_round, replies):
                arrays, metrics = super().aggregate_train(server_round, replies)
                moved = {name: (1 - self.eta) * self.current[name] + self.eta * array for name, array in loaded(arrays).items()}
                return record(moved), metrics

        class MedianThenHalving(Halving, FedICU):
            pass

        received, *trained = models(4)
        own = MedianThenHalving(eta=0.25)
        own.aggregator = fedicu.Aggregator("median")
        configure(own, received)
        made, metrics = own.aggregate_train(1, [reply(k, model, 1) for k, model in enumerate(trained)])
        median = np.median([model["b"] for model in trained], axis=0)
        np.testing.assert_allclose(loaded(made)["b"], 0.75 * received["b"] + 0.25 * median, rtol=1e-12)
        self.assertEqual(metrics["fedicu-included"], 3)


class SampleTests(unittest.TestCase):
    def test_the_project_learns_with_whole_and_with_masked_updates(self):
        folder = pathlib.Path(__file__).resolve().parents[3] / "samples" / "flower"
        sys.path.insert(0, str(folder))
        from fedicu_flower import client_app, server_app, task

        flwr = tomllib.loads((folder / "pyproject.toml").read_text())["tool"]["flwr"]
        self.assertEqual(flwr["federations"]["local"]["options"]["num-supernodes"], task.CLIENTS)
        for strategy, mask in (("fedicu", False), ("fedicu", True), ("qfedavg", False)):
            config = {**flwr["app"]["config"], "strategy": strategy, "mask": mask, "num-server-rounds": 3}
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                server_app.app.functions["main"](
                    Grid(client_app.app, range(task.CLIENTS), config), types.SimpleNamespace(run_config=config))
            accuracies = [float(line.split()[-1]) for line in printed.getvalue().splitlines() if line.startswith("round")]
            self.assertEqual(len(accuracies), 4)
            if strategy == "fedicu":
                self.assertGreater(accuracies[-1], accuracies[0] + 0.3)


if __name__ == "__main__":
    unittest.main()
