"""A federation in one process with Flower's own code, for both of its APIs. flower_versions.py runs it.

Each client fits a linear model to its own data. FedICU.Core's FedAvg must equal Flower's up to rounding. FedICU must equal
the library bit for bit, with the mod and without.
"""

import pathlib
import sys
import unittest

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.client import NumPyClient
from flwr.clientapp import ClientApp
from flwr.common import Code, FitRes, Status, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.server import Server
from flwr.server.client_manager import SimpleClientManager
from flwr.server.client_proxy import ClientProxy
from flwr.server.strategy import FedAvg as LegacyFedAvg
from flwr.serverapp.strategy import (
    DifferentialPrivacyClientSideFixedClipping,
    DifferentialPrivacyServerSideAdaptiveClipping,
    DifferentialPrivacyServerSideFixedClipping,
    FedAdam,
    FedAvg,
    FedProx,
)

import fedicu
from fedicu.flower import FedICU, FedICUMod, LegacyFedICU

SAMPLES = pathlib.Path(__file__).resolve().parents[3] / "samples"
sys.path.insert(0, str(SAMPLES / "flower"))

from local_grid import LocalGrid  # noqa: E402

CLIENTS, ROUNDS = 4, 3


def data(k):
    random = np.random.default_rng(k)
    x = random.standard_normal((20 * (k + 1), 30)).astype(np.float32)
    return x, x @ np.linspace(-1, 1, 30 * 4, dtype=np.float32).reshape(30, 4) + np.float32(k)


def fit(k, w, b):
    x, y = data(k)
    w, b = w.copy(), b.copy()
    for _ in range(20):
        error = x @ w + b - y
        w -= np.float32(0.05 / len(x)) * (x.T @ error)
        b -= np.float32(0.05) * error.mean(0)
    return w, b, len(x)


def client_app(mods):
    app = ClientApp(mods=mods)

    @app.train()
    def train(message: Message, context: Context):
        arrays = message.content["arrays"].to_numpy_ndarrays()
        w, b, examples = fit(context.node_id, *arrays)
        trained = ArrayRecord.from_numpy_ndarrays([w, b])
        names = list(message.content["arrays"])
        record = ArrayRecord(dict(zip(names, trained.values())))
        return Message(RecordDict({"arrays": record, "metrics": MetricRecord({"num-examples": examples, "loss": 1.0})}), reply_to=message)

    return app


class Proxy(ClientProxy):
    def fit(self, ins, timeout, group_id):
        w, b, examples = fit(int(self.cid), *parameters_to_ndarrays(ins.parameters))
        return FitRes(Status(Code.OK, ""), ndarrays_to_parameters([w, b]), examples, {})

    get_properties = get_parameters = evaluate = reconnect = lambda self, *arguments: None


def federate(strategy, mods=()):
    grid = LocalGrid(client_app(list(mods)), [{}] * CLIENTS)
    start = ArrayRecord({"w": zeros(30, 4), "b": zeros(4)})
    result = strategy.start(grid, start, num_rounds=ROUNDS, train_config=ConfigRecord({}))
    return {name: array.numpy() for name, array in result.arrays.items()}, grid


def zeros(*shape):
    from flwr.common import Array

    return Array(np.zeros(shape, np.float32))


class FederationTests(unittest.TestCase):
    def test_fedavg_equals_flowers_up_to_rounding(self):
        theirs, _ = federate(FedAvg(fraction_evaluate=0.0, min_train_nodes=CLIENTS))
        ours, _ = federate(FedICU(fraction_evaluate=0.0, min_train_nodes=CLIENTS, aggregator="fedavg"))
        for name in theirs:
            np.testing.assert_allclose(ours[name], theirs[name], rtol=2e-5, atol=2e-6)

    def test_fedicu_equals_the_librarys_bit_for_bit_with_and_without_the_mod(self):
        for mods in ((), (FedICUMod(keep_momentum=True, mask="top=0.25", beta=0.5),)):
            ours, grid = federate(FedICU(fraction_evaluate=0.0, min_train_nodes=CLIENTS), mods)
            model = {"w": np.zeros((30, 4), np.float32), "b": np.zeros(4, np.float32)}
            momenta, plain = {}, fedicu.Aggregator("fedicu")
            for server_round in range(1, ROUNDS + 1):
                updates = []
                for k in range(CLIENTS):
                    w, b, examples = fit(k, model["w"], model["b"])
                    update = {"w": w, "b": b}
                    if mods:
                        update = fedicu.mask(
                            model, update, momenta.get(k), keep_momentum=True, round=server_round, mask="top=0.25", beta=0.5)
                        momenta[k] = update.momentum
                    updates.append((str(k), examples, update))
                model = plain.aggregate(model, updates, round=server_round)
            for name in model:
                np.testing.assert_array_equal(ours[name], model[name])
            print(f"{ROUNDS} rounds of {CLIENTS} clients, {'masked' if mods else 'whole'}: {grid.uploaded} bytes uploaded")

    def test_fedavg_of_the_older_api_equals_flowers_up_to_rounding(self):
        results = []
        for strategy in (LegacyFedAvg, LegacyFedICU):
            manager = SimpleClientManager()
            for k in range(CLIENTS):
                manager.register(Proxy(str(k)))
            more = {"aggregator": "fedavg"} if strategy is LegacyFedICU else {}
            start = ndarrays_to_parameters([np.zeros((30, 4), np.float32), np.zeros(4, np.float32)])
            own = strategy(fraction_evaluate=0.0, min_fit_clients=CLIENTS, initial_parameters=start, **more)
            server = Server(client_manager=manager, strategy=own)
            server.fit(num_rounds=ROUNDS, timeout=None)
            results.append(parameters_to_ndarrays(server.parameters))
        for theirs, ours in zip(*results):
            np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-6)

    def test_flowers_optimizer_steps_after_our_aggregation(self):
        class MeanThenAdam(FedAdam, FedICU):
            pass

        own = MeanThenAdam(fraction_evaluate=0.0, min_train_nodes=CLIENTS, eta=0.05)
        own.aggregator = fedicu.Aggregator("fedavg")
        ours, _ = federate(own)
        theirs, _ = federate(FedAdam(fraction_evaluate=0.0, min_train_nodes=CLIENTS, eta=0.05))
        for name in theirs:
            np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-4, atol=1e-5)

    def test_clients_receive_the_proximal_term_as_from_flowers_fedprox(self):
        seen = []
        for strategy in (FedProx(fraction_evaluate=0.0, proximal_mu=0.25), FedICU(fraction_evaluate=0.0, strategy="fedprox", mu=0.25)):
            app = ClientApp()

            @app.train()
            def train(message: Message, context: Context):
                seen.append(message.content["config"]["proximal-mu"])
                return Message(
                    RecordDict({"arrays": message.content["arrays"], "metrics": MetricRecord({"num-examples": 1})}), reply_to=message)

            strategy.start(LocalGrid(app, [{}] * CLIENTS), ArrayRecord({"w": zeros(2)}), num_rounds=1)
        self.assertEqual(seen, [0.25] * 2 * CLIENTS)

    def test_a_masked_update_fails_in_one_sentence_where_it_cannot_be_read(self):
        mods = (FedICUMod(mask="top=0.25"),)
        with self.assertRaisesRegex(fedicu.WrongStateError, "^The server did not ask for masked updates"):
            federate(FedAvg(fraction_evaluate=0.0, min_train_nodes=CLIENTS), mods)
        with self.assertRaisesRegex(fedicu.WrongStateError, "^The server did not ask for masked updates"):
            federate(FedICU(fraction_evaluate=0.0, min_train_nodes=CLIENTS, accept_masks=False), mods)
        # the wrappers that clip at the server read each reply before the strategy does
        for wrapper, options in (
            (DifferentialPrivacyServerSideFixedClipping, {"clipping_norm": 1.0}), (DifferentialPrivacyServerSideAdaptiveClipping, {}),
        ):
            own = FedICU(fraction_evaluate=0.0, min_train_nodes=CLIENTS)
            wrapped = wrapper(own, noise_multiplier=0.0, num_sampled_clients=CLIENTS, **options)
            with self.assertRaisesRegex(Exception, "a masked update of FedICUMod that only fedicu.flower's own strat"):
                federate(wrapped, mods)
        # a mod outside ours reads what ours made
        from flwr.clientapp.mod import fixedclipping_mod

        own = FedICU(fraction_evaluate=0.0, min_train_nodes=CLIENTS)
        wrapped = DifferentialPrivacyClientSideFixedClipping(own, noise_multiplier=0.0, clipping_norm=1.0, num_sampled_clients=CLIENTS)
        with self.assertRaisesRegex(Exception, "a masked update of FedICUMod"):
            federate(wrapped, (fixedclipping_mod, *mods))
        # inside ours it clips first, and the mask is applied to the clipped update
        federate(wrapped, (*mods, fixedclipping_mod))

    def test_a_wrapper_without_masks_clips_as_around_fedavg(self):
        models = []
        for own in (FedAvg, FedICU):
            more = {"aggregator": "fedavg"} if own is FedICU else {}
            strategy = own(fraction_evaluate=0.0, min_train_nodes=CLIENTS, **more)
            models.append(federate(DifferentialPrivacyServerSideFixedClipping(
                strategy, noise_multiplier=0.0, clipping_norm=0.5, num_sampled_clients=CLIENTS))[0])
        for name in models[0]:
            np.testing.assert_allclose(models[1][name], models[0][name], rtol=1e-4, atol=1e-5)

    def test_the_apps_of_the_documentation_federate(self):
        page = (pathlib.Path(__file__).resolve().parents[3] / "docs" / "plugging-in" / "flower.md").read_text()
        server, client = ({} for _ in range(2))
        blocks = [block.split("```")[0] for block in page.split("```python\n")[1:]]
        exec(blocks[0], server)
        exec(blocks[1], client)
        grid = LocalGrid(client["app"], [{}] * CLIENTS)
        server["app"](grid, Context(run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config={}))
        losses = [np.mean([reply.content["metrics"]["loss"] for reply in replies]) for replies in grid.seen if replies]
        print("losses of the documentation's apps:", losses)
        self.assertLess(losses[-1], losses[0])

    def test_the_apps_of_the_sample_of_mixed_ranks_federate(self):
        sys.path.insert(0, str(SAMPLES / "MixedRanks"))
        import flower_apps
        import mixed_ranks

        grid = LocalGrid(flower_apps.client, [{"client": name} for name in mixed_ranks.RANKS])
        flower_apps.server(grid, Context(run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config={}))
        _, *rounds = (replies for replies in grid.seen if replies)
        for replies in rounds:
            ranks = [reply.content["arrays"][mixed_ranks.A].shape[0] for reply in replies]
            self.assertEqual(sorted(ranks), list(mixed_ranks.RANKS.values()))
        losses = [np.mean([reply.content["metrics"]["loss"] for reply in replies]) for replies in rounds]
        print("losses of the clients of mixed ranks:", losses)
        self.assertLess(losses[-1], losses[0])


if __name__ == "__main__":
    unittest.main()
