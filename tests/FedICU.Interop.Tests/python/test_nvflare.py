"""The NVFlare aggregator, workflow and filter, against stand-ins for NVFlare's classes."""

import os
import tempfile
import types
import unittest

import numpy as np

from standin_nvflare import Context, FLModel, ParamsType, sent

import fedicu
from fedicu.nvflare import FedICU, FedICUFilter, FedICUModelAggregator

try:
    import torch
except ImportError:
    torch = None


def models(count):
    random = np.random.default_rng(6)
    return [{"w": random.standard_normal((20, 30)).astype(np.float32), "b": random.standard_normal(5)} for _ in range(count)]


class NvflareTests(unittest.TestCase):
    def round(self, strategy, received, models):
        aggregator = FedICUModelAggregator(strategy)
        context = Context() if received is None else Context(global_model={"weights": received, "meta": {}})
        for model in models:
            # ScatterAndGather's results have their sender as a property
            name = model.meta.pop("client_name", None)
            model.get_peer_prop = lambda key, default, name=name: name if key == "__identity_name__" else default
            aggregator.accept(model, context)
        return aggregator.aggregate_model()

    def test_the_workflow_gives_the_aggregator_each_rounds_model(self):
        received, *trained = models(3)

        class Workflow(FedICU):
            def clients(self, model):
                return [sent(k, {name: trained[k - 1][name] + model.params[name] for name in received}) for k in (1, 2)]

        # NVFlare's jobs pass the settings in a dict
        aggregator = FedICUModelAggregator("fedicu", {"tau": 0.5})
        self.assertEqual((aggregator.strategy, aggregator.settings), ("fedicu", {"tau": 0.5}))
        made = Workflow(num_rounds=3, aggregator=aggregator).run(FLModel(ParamsType.FULL, received))
        model, plain = received, fedicu.Aggregator("fedicu", tau=0.5)
        for _ in range(3):
            clients = [{name: trained[k][name] + model[name] for name in model} for k in range(2)]
            model = plain.aggregate(model, [(f"site-{k}", 10 * k, clients[k - 1]) for k in (1, 2)])
        for name in received:
            np.testing.assert_array_equal(made[name], model[name])

    def test_metrics_are_nvflares_weighted_mean(self):
        received, *trained = models(4)
        clients = [sent(k, trained[k - 1]) for k in (1, 3)]
        self.assertIsNone(self.round("fedavg", received, clients).metrics)
        for loss, model in enumerate(clients):
            model.metrics = {"loss": np.float32(loss), "name": "text"}
        self.assertEqual(self.round("fedavg", received, clients).metrics, {"loss": 0.75})

    def test_nvflares_own_fedavg_gives_the_model_by_the_context(self):
        received, *trained = models(3)
        aggregator, plain = FedICUModelAggregator("fedadam"), fedicu.Aggregator("fedadam")
        # the context of the run's start, whose sticky properties are those of now
        aggregator.fl_ctx = Context(global_model={"weights": received, "meta": {}})
        expected = received
        for number in range(3):
            aggregator.reset_stats()
            aggregator.fl_ctx["current_round"] = number
            for k in (1, 2):
                aggregator.accept_model(sent(k, trained[k - 1]))
            made = aggregator.aggregate_model()
            expected = plain.aggregate(expected, [(f"site-{k}", 10 * k, trained[k - 1]) for k in (1, 2)], round=number)
            for name in received:
                np.testing.assert_array_equal(made.params[name], expected[name])
            aggregator.fl_ctx["global_model"] = {"weights": made.params, "meta": {}}

    def test_a_model_that_the_workflow_does_not_keep_is_refused(self):
        received, trained = models(2)
        aggregator = FedICUModelAggregator("fedicu")
        aggregator.fl_ctx = Context(global_model={"weights": received, "meta": {}})
        aggregator.accept_model(sent(1, trained))
        aggregator.aggregate_model()
        aggregator.accept_model(sent(1, trained))
        with self.assertRaisesRegex(fedicu.WrongStateError, "'global_model' is still that of an earlier round"):
            aggregator.aggregate_model()
        aggregator.received = received
        aggregator.aggregate_model()
        aggregator = FedICUModelAggregator("fedicu")
        aggregator.fl_ctx = Context()
        aggregator.accept_model(sent(1, trained))
        with self.assertRaisesRegex(fedicu.WrongStateError, "the FLContext has no 'global_model'; a persistor or the workflow"):
            aggregator.aggregate_model()

    def test_a_difference_is_the_new_model_minus_the_received_one(self):
        received, *trained = models(3)
        received["n"], trained[0]["n"], trained[1]["n"] = np.array(3), np.array(5), np.array(5)
        for strategy in ("fedavg", "fedicu"):
            made = []
            for result in ("FULL", "DIFF"):
                aggregator = FedICUModelAggregator(strategy, result=result)
                aggregator.fl_ctx = Context(global_model={"weights": received, "meta": {}})
                for k in (1, 2):
                    aggregator.accept_model(sent(k, trained[k - 1]))
                made.append(aggregator.aggregate_model())
            self.assertEqual(made[1].params_type, ParamsType.DIFF)
            self.assertEqual(set(made[1].params), {"w", "b"})
            for name, array in made[1].params.items():
                np.testing.assert_array_equal(array, made[0].params[name] - received[name])
        with self.assertRaisesRegex(fedicu.InvalidArgumentError, "result is 'diff'"):
            FedICUModelAggregator(result="diff")
        with self.assertRaisesRegex(fedicu.InvalidArgumentError, "adapter_config is given"):
            FedICUModelAggregator(result="DIFF", adapter_config={"r": 2})
        aggregator = FedICUModelAggregator("fedavg", result="DIFF")
        aggregator.accept_model(sent(1, trained[0]))
        with self.assertRaisesRegex(fedicu.WrongStateError, "with a DIFF result needs it"):
            aggregator.aggregate_model()

    def test_statements_are_in_the_meta_or_the_metrics(self):
        received, *trained = models(3)
        for strategy, field, values, place in (
            ("fednova", "local_steps", [3, 9], "meta"), ("qfedavg", "loss", [0.5, 2.0], "metrics"),
            ("fedbuff", "staleness", [0, 4], "meta"),
            ("fednova", "local_steps", [10, 20], None),
        ):
            updates = [fedicu.Update(f"site-{k}", 10 * k, trained[k - 1], **{field: values[k - 1]}) for k in (1, 2)]
            expected = fedicu.Aggregator(strategy).aggregate(received, updates)
            clients = [sent(k, trained[k - 1]) for k in (1, 2)]
            for model, value in zip(clients, values):
                if place == "meta":
                    model.meta[field] = value
                elif place == "metrics":
                    model.metrics = {field: value}
            made = self.round(strategy, received, clients).params
            for name in received:
                np.testing.assert_array_equal(made[name], expected[name])
        with self.assertRaisesRegex(fedicu.RoundRejectedError, "Client 'site-1': loss is missing"):
            self.round("qfedavg", received, [sent(1, trained[0])])

    def test_the_workflow_tells_clients_the_proximal_term(self):
        self.assertEqual(FedICU(num_rounds=1, aggregator=FedICUModelAggregator("fedprox", mu=0.5)).fedprox_mu, 0.5)
        self.assertEqual(FedICU(num_rounds=1, aggregator=FedICUModelAggregator("fedprox", mu=0.5), fedprox_mu=2).fedprox_mu, 2)
        self.assertIsNone(FedICU(num_rounds=1, aggregator=FedICUModelAggregator("fedavg")).fedprox_mu)

    def test_full_parameters_and_differences_equal_the_librarys_bit_for_bit(self):
        received, *trained = models(4)
        for strategy in ("fedavg", "fedicu"):
            for kind in ParamsType:
                is_delta = kind == ParamsType.DIFF
                updates = [fedicu.Update(f"site-{k}", 10 * k, trained[k - 1], delta=is_delta) for k in (1, 2, 3)]
                expected = fedicu.Aggregator(strategy).aggregate(received, updates)
                result = self.round(strategy, received, [sent(k, trained[k - 1], kind) for k in (1, 2, 3)])
                self.assertEqual((result.params_type, result.current_round), (ParamsType.FULL, 4))
                for name in received:
                    np.testing.assert_array_equal(result.params[name], expected[name])
                self.assertEqual([client["id"] for client in result.meta["fedicu_report"]["clients"]], ["site-1", "site-2", "site-3"])

    def test_differences_without_a_global_model_are_averaged(self):
        _, first, second = models(3)
        result = self.round("fedavg", None, [sent(1, first, ParamsType.DIFF), sent(3, second, ParamsType.DIFF)])
        self.assertEqual(result.params_type, ParamsType.DIFF)
        np.testing.assert_allclose(result.params["b"], (10 * first["b"] + 30 * second["b"]) / 40, rtol=1e-15)
        with self.assertRaisesRegex(fedicu.WrongStateError, "'fedicu' with a FULL result needs it"):
            self.round("fedicu", None, [sent(1, first, ParamsType.DIFF)])

    def test_files_are_read_by_path(self):
        received, trained = models(2)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "site.safetensors")
            fedicu.Aggregator("fedavg").aggregate(trained, [("one", 1, trained)], out=path)
            result = self.round("fedavg", received, [FLModel(ParamsType.FULL, path, meta={"client_name": "site-1"})])
        for name in received:
            np.testing.assert_array_equal(result.params[name], trained[name])

    def test_tensors_on_disk_are_mapped_and_not_loaded(self):
        received, *trained = models(3)
        with tempfile.TemporaryDirectory() as folder:
            def on_disk(k, name):
                path = os.path.join(folder, f"{k}-{name}.safetensors")
                fedicu.Aggregator("fedavg").aggregate({"0": trained[k][name]}, [("one", 1, {"0": trained[k][name]})], out=path)
                return types.SimpleNamespace(file_path=path, key="0", materialize=lambda: self.fail("a tensor was loaded"))

            result = self.round("fedicu", received, [sent(k + 1, {name: on_disk(k, name) for name in received}) for k in range(2)])
        expected = fedicu.Aggregator("fedicu").aggregate(received, [(f"site-{k + 1}", 10 * (k + 1), trained[k]) for k in range(2)])
        for name in received:
            np.testing.assert_array_equal(result.params[name], expected[name])

    def test_what_the_filter_sends_aggregates_like_fedicu_masks_updates(self):
        for keeps in (False, True):
            with self.subTest(keeps_momentum=keeps):
                self.run_masked_rounds(keeps, {"mask": "top=0.25", "beta": 0.5})

    def run_masked_rounds(self, keeps, settings):
        received, *trained = models(3)
        data, result = (FedICUFilter(settings, keep_momentum=keeps) for _ in range(2))
        data.set_prop("__chain_type", "task_data")
        result.set_prop("__chain_type", "task_result")
        context, momentum = Context(), None
        for k, model in enumerate(trained, start=1):
            task = types.SimpleNamespace(data_kind="WEIGHTS", data={name: array.copy() for name, array in received.items()})
            shareable = types.SimpleNamespace(get_header={"current_round": k}.get)
            self.assertIsNone(data.process_dxo(task, shareable, context))
            for array in task.data.values():
                array.fill(0)  # like a trainer that trains in place
            dxo = result.process_dxo(types.SimpleNamespace(data_kind="WEIGHTS", data=model), shareable, context)
            self.assertLess(dxo.data["w"].nbytes, 0.4 * model["w"].nbytes)
            update = fedicu.mask(received, model, momentum, keep_momentum=keeps, round=k, **settings)
            momentum = update.momentum or None
            expected = fedicu.Aggregator("fedicu").aggregate(received, [("site-1", 10, update)])
            made = self.round("fedicu", received, [sent(1, dxo.data)]).params
            for name in received:
                np.testing.assert_array_equal(made[name], expected[name])
            received = made
        with self.assertRaisesRegex(fedicu.InvalidArgumentError, "full parameters, was expected"):
            result.process_dxo(types.SimpleNamespace(data_kind="WEIGHT_DIFF", data=model), shareable, context)
        with self.assertRaisesRegex(fedicu.WrongStateError, "chain of the task's data"):
            result.process_dxo(types.SimpleNamespace(data_kind="WEIGHTS", data=model), shareable, Context())

    def test_refusals_name_the_client(self):
        received, trained = models(2)
        aggregator = FedICUModelAggregator("fedavg")
        with self.assertRaisesRegex(fedicu.WrongStateError, "No client's model"):
            aggregator.aggregate_model()
        aggregator.accept_model(sent(1, trained))
        aggregator.accept_model(sent(2, None))
        with self.assertRaisesRegex(fedicu.RoundRejectedError, "Client 'site-2': it sent no parameters"):
            aggregator.aggregate_model()
        aggregator.reset_stats()
        aggregator.accept_model(sent(1, trained))
        aggregator.accept_model(sent(2, trained, ParamsType.DIFF))
        with self.assertRaisesRegex(fedicu.RoundRejectedError, "Client 'site-2': it sent parameters of type 'DIFF'; FULL was expected"):
            aggregator.aggregate_model()
        with self.assertRaisesRegex(fedicu.RoundRejectedError, "[Cc]lient 'site-1'.*'w'"):
            self.round("fedavg", received, [sent(1, {**trained, "w": trained["w"][:2]})])

    def test_full_parameters_and_differences_can_be_mixed_if_the_model_is_known(self):
        received, trained = models(2)
        zeros = {name: np.zeros_like(array) for name, array in received.items()}
        made = self.round("fedavg", received, [sent(1, trained), sent(3, zeros, ParamsType.DIFF)])
        np.testing.assert_allclose(made.params["b"], (10 * trained["b"] + 30 * received["b"]) / 40, rtol=1e-15)

    def test_the_servers_round_number_has_precedence(self):
        received, trained = models(2)
        for stated, number in ((4, 4), ("seven", None), (-1, None), (2**70, None)):
            model = sent(1, trained)
            model.current_round = stated
            self.assertEqual(self.round("fedavg", received, [model]).current_round, number)
            aggregator = FedICUModelAggregator("fedavg")
            aggregator.fl_ctx, aggregator.received = Context(current_round=9), received
            aggregator.accept_model(model)
            self.assertEqual(aggregator.aggregate_model().current_round, 9)

    def test_the_workflow_counts_the_included_clients(self):
        received, trained = models(2)

        class Workflow(FedICU):
            def clients(self, model):
                return [sent(1, trained), sent(2, {**trained, "w": trained["w"] * np.nan})]

            def run(self, model):
                self.aggregator.reset_stats()
                self.send_model(task_name="train", data=model, callback=self.aggregator.accept_model)
                return self._get_aggregated_result()

        aggregator = FedICUModelAggregator("fedavg", quorum=1, on_nonfinite="drop-client")
        made = Workflow(num_rounds=1, aggregator=aggregator).run(FLModel(ParamsType.FULL, received))
        self.assertEqual(made.meta["nr_aggregated"], 1)

    @unittest.skipIf(torch is None, "torch is missing")
    def test_uint16_in_a_bfloat16_model_is_read_as_bfloat16(self):
        received = {"w": torch.zeros(3, 4, dtype=torch.bfloat16)}
        trained = torch.randn(3, 4).bfloat16()
        bits = trained.view(torch.int16).numpy().view(np.uint16)
        for value in (trained, bits, bits.astype(">u2")):
            made = self.round("fedavg", received, [sent(1, {"w": value})]).params["w"]
            self.assertTrue(made.dtype == torch.bfloat16 and torch.equal(made, trained))
        filters = [FedICUFilter(mask="top=1") for _ in range(2)]
        for chain, own in zip(("task_data", "task_result"), filters):
            own.set_prop("__chain_type", chain)
        context, shareable = Context(), types.SimpleNamespace(get_header={"current_round": 1}.get)
        filters[0].process_dxo(types.SimpleNamespace(data_kind="WEIGHTS", data=received), shareable, context)
        dxo = filters[1].process_dxo(types.SimpleNamespace(data_kind="WEIGHTS", data={"w": trained}), shareable, context)
        self.assertIsInstance(dxo.data["w"], np.ndarray)
        self.assertTrue(torch.equal(self.round("fedavg", received, [sent(1, dxo.data)]).params["w"], trained))


if __name__ == "__main__":
    unittest.main()
