"""LoRA adapters of several ranks: as Python passes them, through Flower and through NVFlare, and their faults."""

import os
import pathlib
import tempfile
import types
import unittest

import numpy as np

import standin_flower as flower
import standin_nvflare as nvflare

import fedicu
from fedicu import Adapter
from fedicu.flower import ADAPTER_CONFIG, FedICU
from fedicu.nvflare import FedICUModelAggregator
from fedicu.nvflare import FedICU as NvflareFedICU

INPUTS, OUTPUTS = 9, 7
A, B, HEAD = "base_model.model.q_proj.lora_A.weight", "base_model.model.q_proj.lora_B.weight", "base_model.model.head.weight"
# PEFT's configurations have sets
GLOBAL = {"peft_type": "LORA", "r": 3, "lora_alpha": 6, "target_modules": {"q_proj"}, "modules_to_save": ["head"]}


def adapter(seed, rank, alpha=6, **more):
    random = np.random.default_rng(seed)
    shapes = {A: (rank, INPUTS), B: (OUTPUTS, rank), HEAD: (2,)}
    tensors = {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    return Adapter(tensors, {**GLOBAL, "r": rank, "lora_alpha": alpha, **more})


def product(one):
    config = one.adapter_config
    root = np.sqrt(config["r"]) if config.get("use_rslora") else config["r"]
    return config["lora_alpha"] / root * one.tensors[B].astype(float) @ one.tensors[A].astype(float)


def cut(matrix, rank):
    u, s, v = np.linalg.svd(matrix, full_matrices=False)
    return u[:, :rank] * s[:rank] @ v[:rank]


START, CLIENTS = adapter(0, 3), {"a": adapter(1, 1), "b": adapter(2, 2, alpha=8), "c": adapter(3, 4, use_rslora=True)}
UPDATES = [(name, 10 * (k + 1), client) for k, (name, client) in enumerate(CLIENTS.items())]
MEAN = sum(weight * product(client) for _, weight, client in UPDATES) / 60


class AdapterTests(unittest.TestCase):
    def test_rules_of_mixed_ranks_return_an_adapter_with_its_configuration(self):
        for strategy, settings, rank, alpha, expected in (
            ("flexlora", {}, 3, 6, cut(MEAN, 3)),
            ("flexlora", {"rank": 5}, 5, 6, cut(MEAN, 5)),
            ("flora", {}, 7, 7, MEAN),
            ("hetlora", {}, 4, 6, None),
        ):
            with self.subTest(strategy, **settings):
                aggregator = fedicu.Aggregator(strategy, **settings)
                made = aggregator.aggregate(START, UPDATES)
                self.assertEqual((made.adapter_config["r"], made.adapter_config["lora_alpha"]), (rank, alpha))
                self.assertEqual(made.adapter_config["target_modules"], ["q_proj"])
                self.assertEqual((made.tensors[A].shape, made.tensors[B].shape), ((rank, INPUTS), (OUTPUTS, rank)))
                self.assertEqual(made.tensors[A].dtype, np.float32)
                if expected is not None:
                    np.testing.assert_allclose(product(made), expected, atol=2e-5)
                np.testing.assert_allclose(
                    made.tensors[HEAD], sum(weight * client.tensors[HEAD] for _, weight, client in UPDATES) / 60, rtol=1e-5, atol=1e-6)
                [pair] = aggregator.report["lora_pairs"]
                self.assertEqual(pair["rank"], rank)

    def test_rank_patterns_are_read(self):
        odd = adapter(5, 2, rank_pattern={"q_proj": 2}, alpha_pattern={"q_proj": 10})
        odd.adapter_config["r"] = 99
        made = fedicu.Aggregator("flora").aggregate(START, [("a", 1, odd)])
        np.testing.assert_allclose(product(made), 5 * odd.tensors[B] @ odd.tensors[A], rtol=1e-4, atol=1e-5)

    def test_adapters_without_a_configuration_need_a_scaling(self):
        bare = [(name, weight, Adapter(client.tensors)) for name, weight, client in UPDATES]
        with self.assertRaisesRegex(fedicu.RoundRejectedError, "Client 'a': no configuration or alpha states the scaling"):
            fedicu.Aggregator("flora").aggregate(Adapter(START.tensors), bare)
        made = fedicu.Aggregator("flora", lora_scaling=2).aggregate(Adapter(START.tensors), bare)
        self.assertIsNone(made.adapter_config)
        expected = sum(weight * client.tensors[B].astype(float) @ client.tensors[A] for _, weight, client in UPDATES) / 60
        np.testing.assert_allclose(made.tensors[B].astype(float) @ made.tensors[A], expected, atol=1e-5)

    def test_a_dict_as_a_client_has_the_global_scaling_at_its_rank_alone(self):
        same = adapter(7, 3)
        made = [fedicu.Aggregator("flexlora").aggregate(START, [("a", 1, client)]) for client in (same, same.tensors)]
        np.testing.assert_array_equal(made[0].tensors[A], made[1].tensors[A])

    def test_a_path_as_output_gets_the_configuration(self):
        with tempfile.TemporaryDirectory() as folder:
            out = os.path.join(folder, "next")
            fedicu.Aggregator("flora").aggregate(START, UPDATES, out=out)
            self.assertIn('"r": 7', pathlib.Path(out, "adapter_config.json").read_text())
            again = fedicu.Aggregator("flora").aggregate(START, [("a", 1, out)])
        np.testing.assert_allclose(product(again), MEAN, atol=2e-5)

    def test_means_of_equal_adapters_keep_the_configuration(self):
        made = fedicu.Aggregator("fedavg").aggregate(START, [("a", 1, adapter(4, 3)), ("b", 1, adapter(5, 3))])
        self.assertEqual(made.adapter_config["r"], 3)
        np.testing.assert_allclose(made.tensors[A], (adapter(4, 3).tensors[A] + adapter(5, 3).tensors[A]) / 2, atol=1e-6)

    def test_adapt_cuts_to_the_nearest_product_of_the_rank(self):
        whole = adapter(8, 6, use_rslora=True)
        for rank in (1, 4, np.int64(6), 9):
            small = fedicu.adapt(whole, rank)
            self.assertEqual(small.adapter_config, {**whole.adapter_config, "target_modules": ["q_proj"], "r": min(rank, 6)} | (
                {} if rank >= 6 else {"rank_pattern": {}, "alpha_pattern": {}}))
            np.testing.assert_allclose(product(small), cut(product(whole), rank), atol=2e-5)
            np.testing.assert_array_equal(small.tensors[HEAD], whole.tensors[HEAD])
        bare = fedicu.adapt(Adapter(whole.tensors), 2, lora_scaling=3)
        np.testing.assert_allclose(bare.tensors[B] @ bare.tensors[A], cut(whole.tensors[B] @ whole.tensors[A], 2), atol=1e-5)

    def test_an_adapter_above_the_weights_sides_can_be_cut(self):
        stacked = fedicu.Aggregator("flora").aggregate(START, [*UPDATES, ("d", 1, adapter(9, 5))])
        self.assertEqual(stacked.adapter_config["r"], 12)
        np.testing.assert_allclose(product(fedicu.adapt(stacked, 2)), cut(product(stacked), 2), atol=2e-5)

    def test_refused_cuts(self):
        for error, message, wrong, arguments in (
            (fedicu.InvalidOptionsError, "rank is 0; a whole number of at least 1 was expected", START, (0,)),
            (fedicu.InvalidOptionsError, "options: the JSON is not as expected", START, ("two",)),
            (fedicu.InvalidArgumentError, "The adapter is a dict; a fedicu.Adapter was expected", START.tensors, (2,)),
            (fedicu.InvalidArgumentError, "^The adapter: its tensors are a list; a dict was expected", Adapter([], {}), (2,)),
            (fedicu.InvalidArgumentError, "^The adapter: its adapter_config is a str", Adapter(START.tensors, "{}"), (2,)),
            (fedicu.InvalidModelError, "'adapter_config.json' has '0' for r", Adapter(START.tensors, {"r": 0}), (2,)),
            (fedicu.RoundRejectedError, "scaling", Adapter(START.tensors), (2,)),
            (fedicu.RoundRejectedError, "has no LoRA pairs", Adapter({"w": np.ones(3, np.float32)}, GLOBAL), (2,)),
        ):
            with self.subTest(message), self.assertRaisesRegex(error, message):
                fedicu.adapt(wrong, *arguments)
        self.assertEqual(fedicu.live_handles(), 0)

    def test_a_global_configuration_that_cannot_be_read_is_the_callers_fault(self):
        for config, error in (([1], fedicu.InvalidArgumentError), ({"r": object()}, fedicu.InvalidArgumentError),
                              ({"r": 0}, fedicu.InvalidModelError)):
            with self.assertRaises(error):
                fedicu.Aggregator("flora").aggregate(Adapter(START.tensors, config), UPDATES)


def faulty(tensors=None, **config):
    good = CLIENTS["b"]
    kept = {name: array for name, array in {**good.tensors, **(tensors or {})}.items() if array is not None}
    return Adapter(kept, {**good.adapter_config, **config})


def zeros(*shape):
    return np.zeros(shape, np.float32)


# the fault of client b, its policy, and the sentence after the client's name
FAULTS = {
    "another number of inputs": (
        faulty({A: zeros(2, 8)}), "on_shape",
        rf"tensor '{A}' has the shape \[2, 8\]; \[3, {INPUTS}\] was expected, with any rank from 1 that both factors share"),
    "two ranks": (faulty({A: zeros(1, INPUTS)}), "on_shape", rf"tensor '{A}' has the shape \[1, {INPUTS}\]; \[3, {INPUTS}\] was expected"),
    "a rank of 0": (
        faulty({A: zeros(0, INPUTS), B: zeros(OUTPUTS, 0)}), "on_shape",
        rf"tensor '{A}' has the shape \[0, {INPUTS}\]; \[3, {INPUTS}\] was expected"),
    "a rank above the outputs": (
        faulty({A: zeros(8, INPUTS), B: zeros(OUTPUTS, 8)}, r=8), "on_config", "its rank 8 in .* is above the weight's outputs; at most 7"),
    "a factor missing": (faulty({B: None}), "on_missing", rf"tensor '{B}' is missing; F32 \[{OUTPUTS}, 3\] was expected"),
    "a NaN": (
        faulty({A: np.full((2, INPUTS), np.nan, np.float32)}), "on_nonfinite", rf"tensor '{A}' has 18 values that are NaN or infinite"),
    "a rank in the configuration alone": (
        faulty(r=3), "on_config", "module 'base_model.model.q_proj' has rank 2, but 3 in its adapter_config.json"),
    "other modules": (
        faulty(target_modules=["k_proj"]), "on_config", "its adapter_config.json disagrees with the global adapter's: target_modules"),
    "DoRA": (faulty(use_dora=True), "on_config", "its adapter_config.json disagrees with the global adapter's: use_dora"),
    "a rank of 0 in the configuration": (
        faulty(r=0), "on_unreadable", "'adapter_config.json' has '0' for r, expected a whole number from 1"),
    "an alpha of text": (
        faulty(lora_alpha="16"), "on_unreadable", "'adapter_config.json' has '16' for lora_alpha, expected a finite number"),
}


class Plain:
    def __init__(self, **settings):
        self.aggregator = fedicu.Aggregator("flexlora", **settings)

    def run(self, updates):
        return self.aggregator.aggregate(START, updates)


class Flower:
    def __init__(self, **settings):
        self.aggregator = fedicu.Aggregator("flexlora", **settings)
        self.strategy = FedICU(aggregator=self.aggregator, adapter_config=GLOBAL)

    def run(self, updates):
        self.strategy.configure_train(1, flower.record(START.tensors), {}, flower.Grid(None, CLIENTS))
        replies = []
        for name, weight, client in updates:
            records = {
                "arrays": flower.record(client.tensors), "metrics": flower.MetricRecord({"num-examples": weight}),
                "config": flower.ConfigRecord({ADAPTER_CONFIG: fedicu._text.encode_config(client.adapter_config).decode()}),
            }
            metadata = types.SimpleNamespace(src_node_id=name)
            replies.append(types.SimpleNamespace(content=flower.RecordDict(records), metadata=metadata, has_error=lambda: False))
        arrays, _ = self.strategy.aggregate_train(1, replies)
        return Adapter(flower.loaded(arrays), self.strategy.adapter_config)


class Nvflare:
    def __init__(self, **settings):
        self.nvflare = FedICUModelAggregator("flexlora", settings, adapter_config=GLOBAL)
        self.nvflare.received, self.aggregator = START.tensors, self.nvflare.aggregator

    def run(self, updates):
        for name, weight, client in updates:
            meta = {"client_name": name, "NUM_STEPS_CURRENT_ROUND": weight, "adapter_config": client.adapter_config}
            self.nvflare.accept_model(nvflare.FLModel(nvflare.ParamsType.FULL, client.tensors, None, 1, meta))
        made = self.nvflare.aggregate_model()
        return Adapter(made.params, made.meta["adapter_config"])


class BridgeTests(unittest.TestCase):
    def test_every_bridge_aggregates_the_same_bits(self):
        expected = Plain().run(UPDATES)
        for bridge in (Flower, Nvflare):
            made = bridge().run(UPDATES)
            self.assertEqual(made.adapter_config, expected.adapter_config)
            for name, array in expected.tensors.items():
                np.testing.assert_array_equal(made.tensors[name], array)

    def test_faults_are_refused_with_one_sentence_or_left_out(self):
        good = [UPDATES[0], UPDATES[2]]
        for what, (client, policy, sentence) in FAULTS.items():
            updates = [good[0], ("b", 20, client), good[1]]
            for bridge in (Plain, Flower, Nvflare):
                with self.subTest(what, bridge=bridge.__name__):
                    with self.assertRaisesRegex(fedicu.RoundRejectedError, f"^Client 'b': {sentence}.*\\.$"):
                        bridge().run(updates)
                    lenient = bridge(quorum=2, **{policy: "drop-client"})
                    made = lenient.run(updates)
                    for name, array in Plain().run(good).tensors.items():
                        np.testing.assert_array_equal(made.tensors[name], array)
                    [left_out] = [one for one in lenient.aggregator.report["clients"] if not one["included"]]
                    self.assertEqual(left_out["id"], "b")

    def test_configurations_that_are_no_dicts_make_a_client_unreadable(self):
        for wrong, sentence in (([1], "its adapter_config is a list; a dict was expected"),
                                ({"r": {1, (2,)}, "x": object()}, "its adapter_config cannot be written as JSON")):
            with self.assertRaisesRegex(fedicu.RoundRejectedError, f"^Client 'b': {sentence}"):
                Plain().run([("b", 1, Adapter(CLIENTS["b"].tensors, wrong))])
        for text, sentence in (
            ("{", "its adapter-config is not JSON"), ("[1]", r"its adapter-config is '\[1\]'; a JSON object was expected")):
            strategy = FedICU(aggregator="flora", adapter_config=GLOBAL)
            strategy.configure_train(1, flower.record(START.tensors), {}, flower.Grid(None, CLIENTS))
            reply = flower.reply("b", START.tensors, 1)
            reply.content.config_records = {"own": {ADAPTER_CONFIG: text}}
            with self.assertRaisesRegex(fedicu.RoundRejectedError, f"^Client 'b': {sentence}"):
                strategy.aggregate_train(1, [reply])

    def test_only_the_configurations_of_the_round_are_kept(self):
        strategy = FedICU(aggregator="flora", adapter_config=GLOBAL)
        for number, nodes in ((1, "abc"), (2, "de")):
            strategy.configure_train(number, flower.record(START.tensors), {}, flower.Grid(None, nodes))
            strategy.configure_evaluate(number, flower.record(START.tensors), {}, flower.Grid(None, "f"))
            # the nodes of the grid are numbered
            self.assertEqual(set(strategy._sent), {str(k) for k in range(len(nodes))})

    def test_the_configuration_belongs_to_the_ranks(self):
        with self.assertRaisesRegex(fedicu.InvalidArgumentError, "rank_of was given without adapter_config"):
            FedICU(aggregator="flora", rank_of=int)
        with self.assertRaisesRegex(fedicu.InvalidArgumentError, "^The global model: its adapter_config is a list"):
            FedICU(aggregator="flora", adapter_config=[])
        with self.assertRaisesRegex(fedicu.InvalidArgumentError, "the aggregator has no adapter_config"):
            NvflareFedICU(num_rounds=1, aggregator=FedICUModelAggregator("flora"), ranks={"a": 1})


if __name__ == "__main__":
    unittest.main()
