"""The aggregators of the package against the formulas, through the library that FEDICU_LIBRARY names."""

import gc
import json
import os
import pathlib
import resource
import tempfile
import unittest

import numpy as np

from arrays import forms, models

import fedicu

try:
    import torch
except ImportError:
    torch = None


def resident_bytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


class AggregatorTests(unittest.TestCase):
    def test_fedavg_is_the_weighted_mean_rounded_once(self):
        received, *trained = models(3)
        weights = [10, 30, 5]
        with fedicu.Aggregator("fedavg") as aggregator:
            result = aggregator.aggregate(received, [(f"c{k}", weights[k], trained[k]) for k in range(3)], round=7)
            for name in received:
                exact = sum(w * t[name].astype(np.float64) for w, t in zip(weights, trained)) / 45
                np.testing.assert_allclose(result[name], exact.astype(np.float32), rtol=1.2e-7, atol=0)
            self.assertEqual([client["id"] for client in aggregator.report["clients"]], ["c0", "c1", "c2"])
            self.assertEqual(aggregator.report["round"], 7)
            self.assertEqual(json.loads(aggregator.state)["round"], 7)

    def test_flexlora_takes_the_best_factors_in_both_builds(self):
        random = np.random.default_rng(0)
        models = [{"m.lora_A.weight": random.standard_normal((3, 40)), "m.lora_B.weight": random.standard_normal((30, 3))}
                  for _ in range(4)]
        result = fedicu.Aggregator("flexlora", **{"lora-scaling": "2"}).aggregate(
            models[0], [(f"c{k}", 1, model) for k, model in enumerate(models[1:])])
        mean = sum(model["m.lora_B.weight"] @ model["m.lora_A.weight"] for model in models[1:]) * 2 / 3
        u, s, v = np.linalg.svd(mean)
        np.testing.assert_allclose(
            2 * result["m.lora_B.weight"] @ result["m.lora_A.weight"], (u[:, :3] * s[:3]) @ v[:3], rtol=0, atol=1e-12 * s[0])

    def test_a_client_without_a_weight_is_treated_alike_in_memory_and_in_a_file(self):
        received, *trained = models(3)
        config = {"r": 4, "lora_alpha": 8, "peft_type": "LORA", "target_modules": ["m"]}
        pair = {"m.lora_A.weight": np.ones((4, 6), np.float32), "m.lora_B.weight": np.ones((5, 4), np.float32)}
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "a.safetensors")
            fedicu.Aggregator("fedavg").aggregate(received, [("one", 1, trained[0])], out=path)
            masked = fedicu.mask(received, trained[0], mask="top=1")
            forms = [
                (received, trained[0], trained), (received, path, trained), (received, masked, trained),
                (fedicu.Adapter(pair, config), fedicu.Adapter(pair, config), [fedicu.Adapter(pair, config)] * 3),
            ]
            for model, silent, others in forms:
                stating = [(f"c{k}", 10, other) for k, other in enumerate(others)]
                with self.subTest(type(silent).__name__):
                    with self.assertRaisesRegex(fedicu.RoundRejectedError, "^Client 'd'.* states no num_examples, but client 'c0' does"):
                        fedicu.Aggregator("fedavg").aggregate(model, [*stating, ("d", None, silent)])
                    lenient = fedicu.Aggregator("fedavg", on_weight="drop-client", quorum=1)
                    lenient.aggregate(model, [*stating, ("d", None, silent)])
                    self.assertEqual([client["id"] for client in lenient.report["clients"] if not client["included"]], ["d"])
                    # nobody states one: each weighs 1, and a note says so
                    lenient.aggregate(model, [(name, None, other) for name, _, other in stating] + [("d", None, silent)])
                    self.assertEqual({client["weight"] for client in lenient.report["clients"]}, {1})
                    self.assertIn("No client states num_examples: every client weighs 1.", lenient.report["notes"])

    def test_a_mistyped_name_is_asked_about(self):
        for arguments, question in (
            (dict(strategy="fedadm"), "The strategy 'fedadm' is unknown; did you mean 'fedadam'?"),
            (dict(strategy="fedadam", server_rl=1), "Option 'server-rl' is unknown; did you mean 'server-lr'?"),
        ):
            with self.assertRaises(fedicu.InvalidOptionsError) as raised:
                fedicu.Aggregator(**arguments)
            self.assertIn(question, str(raised.exception))

    def test_every_strategy_is_listed_with_its_options(self):
        known = {strategy["name"]: strategy for strategy in fedicu.strategies()}
        self.assertLessEqual({"fedavg", "fedprox", "fedicu", "median", "krum", "fedadam", "flora", "flexlora"}, set(known))
        self.assertTrue(all(strategy["summary"] for strategy in known.values()))
        tau = next(option for option in known["fedadam"]["options"] if option["name"] == "tau")
        self.assertEqual((tau["values"], tau["default"]), ("number", "0.001"))
        self.assertIn("quorum", [option["name"] for option in fedicu.round_options()])
        # what is listed is what an aggregator takes
        required = {
            "fltrust": {"root": "root.safetensors"},
            "dp-fedavg": {"clip-norm": "1", "noise-multiplier": "0"},
            "dare": {"seed": "1"},
        }
        for name, strategy in known.items():
            settings = {o["name"]: o["default"] for o in strategy["options"] if o["default"] not in ("none",)}
            settings |= required.get(name, {})
            fedicu.Aggregator(name, **settings).close()

    def test_strategies_are_composed(self):
        received, *trained = models(5)
        clients = [(f"c{k}", 1, trained[k]) for k in range(5)]
        with fedicu.Aggregator("krum,fedadam", **{"krum.byzantine": 1}, server_lr=0.5) as aggregator:
            aggregator.aggregate(received, clients)
            self.assertEqual(aggregator.report["strategy"], "krum,fedadam")
        with self.assertRaisesRegex(fedicu.InvalidOptionsError, "The strategy 'krumm' is unknown"):
            fedicu.Aggregator("krumm,fedadam")
        with self.assertRaisesRegex(fedicu.InvalidOptionsError, "after 'fedadam'"):
            fedicu.Aggregator("fedadam,krum")

    def test_a_state_lives_in_memory_or_in_a_file(self):
        received, *trained = models(3)
        clients = [(f"c{k}", 1, trained[k]) for k in range(3)]

        def first_and_second(first, second):
            return second.aggregate(first.aggregate(received, clients, round=1), clients, round=2)

        with tempfile.TemporaryDirectory() as folder, fedicu.Aggregator("fedadam") as memory:
            path = pathlib.Path(folder, "state.safetensors")
            with fedicu.Aggregator("fedadam", state=path) as first, fedicu.Aggregator("fedadam", state=path) as second:
                by_file = first_and_second(first, second)
            by_memory = first_and_second(memory, memory)
            forgotten = first_and_second(fedicu.Aggregator("fedadam"), fedicu.Aggregator("fedadam"))
            for name in received:
                np.testing.assert_array_equal(by_file[name], by_memory[name])
            self.assertTrue(any((by_memory[name] != forgotten[name]).any() for name in received))
            # the state is of round 2 and its model
            with fedicu.Aggregator("fedadam", state=path) as third:
                with self.assertRaisesRegex(fedicu.FedIcuError, "belongs to the model"):
                    third.aggregate(received, clients, round=3)
                with self.assertRaisesRegex(fedicu.FedIcuError, "the state is of round 2"):
                    third.aggregate(by_file, clients, round=2)
            # state_out leaves the file that was read
            with fedicu.Aggregator("fedadam", state=path, state_out=path.with_name("next.safetensors")) as other:
                other.aggregate(by_file, clients, round=3)
                self.assertTrue(path.with_name("next.safetensors").exists())
            # the text does not hold the state, so it is good for this aggregator only
            memory.state = memory.state
            with self.assertRaisesRegex(fedicu.InvalidOptionsError, "counts 2 rounds of 'fedadam' in memory; this aggregator has 0"):
                fedicu.Aggregator("fedadam").state = memory.state

    def test_a_wrong_state_is_refused(self):
        for settings, message in (
            ({"strategy": "krum", "state": "s"}, "^state is 's', but 'krum' keeps no state between rounds.$"),
            ({"strategy": "fedadam", "state": ""}, "^state is empty; a path was expected.$"),
            ({"strategy": "fedadam", "state_out": "s"}, "^stateOut was given without state"),
            ({"strategy": "fedadam", "state": 3}, "^state is 3; a path was expected.$"),
            ({"strategy": "fedadam", "state": "a\0"}, "^state: its path .* has a zero character"),
        ):
            with self.assertRaisesRegex(fedicu.FedIcuError, message):
                fedicu.Aggregator(**settings)

    def test_with_one_client_the_result_is_its_model(self):
        received, trained = models(1)
        result = fedicu.Aggregator("fedavg").aggregate(received, [("a", 1, trained)])
        for name in received:
            np.testing.assert_array_equal(result[name], trained[name])

    def test_files_and_memory_give_the_same_bits(self):
        received, *trained = models(3)
        for strategy in ("fedavg", "fedprox", "fedicu"):
            with tempfile.TemporaryDirectory() as folder, fedicu.Aggregator(strategy) as aggregator:
                paths = []
                for k, model in enumerate([received, *trained]):
                    paths.append(os.path.join(folder, f"{k}.safetensors"))
                    fedicu.Aggregator("fedavg").aggregate(model, [("one", 1, model)], out=paths[-1])
                here = aggregator.aggregate(received, [(f"c{k}", k + 1, trained[k]) for k in range(3)])
                there = os.path.join(folder, "next.safetensors")
                aggregator.aggregate(paths[0], [(f"c{k}", k + 1, paths[k + 1]) for k in range(3)], out=there)
                again = aggregator.aggregate(received, [("one", 1, there)])
                for name in received:
                    np.testing.assert_array_equal(here[name], again[name])

    def test_deltas_give_the_same_result(self):
        received, *trained = models(2, dtype=np.float64)
        deltas = [{name: model[name] - received[name] for name in model} for model in trained]
        full = fedicu.Aggregator("fedavg").aggregate(received, [("a", 1, trained[0]), ("b", 2, trained[1])])
        updates = [fedicu.Update("a", 1, deltas[0], delta=True), fedicu.Update("b", 2, deltas[1], delta=True)]
        by_delta = fedicu.Aggregator("fedavg").aggregate(received, updates)
        for name in received:
            np.testing.assert_allclose(by_delta[name], full[name], rtol=1e-14, atol=1e-14)

    def test_results_are_written_to_the_given_tensors(self):
        received, trained = models(1)
        places = {name: np.empty_like(value) for name, value in received.items()}
        result = fedicu.Aggregator("fedicu", tau="0.5").aggregate(received, [("a", 1, trained)], out=places)
        self.assertIs(result, places)
        with self.assertRaisesRegex(fedicu.InvalidArgumentError, "overlaps memory of client 'a'"):
            fedicu.Aggregator("fedavg").aggregate(received, [("a", 1, trained)], out=trained)

    def test_strided_arrays_are_read(self):
        received, trained = models(1)
        turned = {"w": np.asfortranarray(trained["w"]), "b": trained["b"][::-1].copy()[::-1]}
        result = fedicu.Aggregator("fedavg").aggregate(received, [("a", 1, turned)])
        np.testing.assert_array_equal(result["w"], trained["w"])
        np.testing.assert_array_equal(result["b"], trained["b"])

    def test_every_memory_layout_is_converted_exactly(self):
        for dtype in ("f2", "f4", "f8", "i2", "i4", "i8", "u2", "u4", "u8"):
            for shape in ((), (1,), (0,), (3, 0, 2), (4, 5), (2, 3, 4)):
                whole = np.arange(1, 1 + int(np.prod(shape)), dtype=dtype).reshape(shape)
                for name, array in forms(whole).items():
                    with self.subTest(name, dtype=dtype, shape=shape):
                        np.testing.assert_array_equal(array, whole)
                        for received, sent in ((np.zeros_like(whole), array), (array, whole)):
                            made = fedicu.Aggregator("fedavg").aggregate({"x": received}, [("a", 2, {"x": sent})])["x"]
                            self.assertEqual((made.shape, made.dtype), (whole.shape, whole.dtype))
                            np.testing.assert_array_equal(made, whole)

    def test_results_are_not_written_to_other_memory_layouts(self):
        received, trained = models(1)
        for name, place in forms(np.empty_like(received["w"])).items():
            if name == "unchanged":
                continue
            with self.assertRaisesRegex(fedicu.InvalidArgumentError, "^The result: tensor 'w' is"):
                fedicu.Aggregator("fedavg").aggregate(received, [("a", 1, trained)], out={**received, "w": place})

    def test_masked_arrays_are_refused(self):
        received, trained = models(1)
        with self.assertRaisesRegex(fedicu.RoundRejectedError, "Client 'a': tensor 'w' is a masked array"):
            masked = np.ma.masked_less(trained["w"], 0)
            fedicu.Aggregator("fedavg").aggregate(received, [("a", 1, {**trained, "w": masked})])

    @unittest.skipIf(torch is None, "torch is missing")
    def test_torchs_views_are_read_as_torch_reads_them(self):
        whole = torch.arange(12, dtype=torch.float32).reshape(3, 4)
        negated = torch.complex(torch.zeros(3, 4), whole).conj().imag
        self.assertTrue(negated.is_neg())
        for value in (whole.t().contiguous().t(), whole.flip(0).flip(0), negated.neg(), whole.clone().requires_grad_()):
            made = fedicu.Aggregator("fedavg").aggregate({"x": torch.zeros(3, 4)}, [("a", 2, {"x": value})])["x"]
            self.assertTrue(torch.equal(made, whole))
        made = fedicu.Aggregator("fedavg").aggregate({"x": torch.zeros(3, 4)}, [("a", 2, {"x": negated})])["x"]
        self.assertTrue(torch.equal(made, -whole))
        for odd in (whole.to_sparse(), torch.empty(3, 4, device="meta"), torch.zeros((1,) * 65)):
            with self.assertRaisesRegex(fedicu.RoundRejectedError, "^Client 'a': tensor 'x'"):
                fedicu.Aggregator("fedavg").aggregate({"x": whole}, [("a", 2, {"x": odd})])
        with self.assertRaisesRegex(fedicu.RoundRejectedError, "^Client 'a': tensor 'x' has the type torch.quint8"):
            quantized = torch.quantize_per_tensor(whole, 0.1, 0, torch.quint8)
            fedicu.Aggregator("fedavg").aggregate({"x": whole}, [("a", 2, {"x": quantized})])

    @unittest.skipIf(torch is None, "torch is missing")
    def test_torch_tensors_are_averaged(self):
        for dtype in (torch.float32, torch.float16, torch.bfloat16):
            received = {"w": torch.randn(20, 30).to(dtype)}
            trained = [{"w": torch.randn(20, 30).to(dtype)} for _ in range(2)]
            result = fedicu.Aggregator("fedavg").aggregate(received, [("a", 1, trained[0]), ("b", 1, trained[1])])
            self.assertEqual(result["w"].dtype, dtype)
            exact = (trained[0]["w"].double() + trained[1]["w"].double()) / 2
            self.assertTrue(torch.equal(result["w"], exact.to(dtype)))

    def test_tensors_of_files_are_read_by_name(self):
        received, trained = models(1)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "model.safetensors")
            fedicu.Aggregator("fedavg").aggregate(trained, [("one", 1, trained)], out=path)
            named = {"w": fedicu.FileTensor(path, "w"), "b": fedicu.FileTensor(path, "b")}
            result = fedicu.Aggregator("fedavg").aggregate(received, [("a", 1, named)])
            for name in received:
                np.testing.assert_array_equal(result[name], trained[name])
            for wrong in ("nothing", os.path.join(folder, "nowhere")):
                with self.assertRaisesRegex(fedicu.RoundRejectedError, f"^Client 'a': .*{wrong}"):
                    tensor = fedicu.FileTensor(path if wrong == "nothing" else wrong, wrong)
                    fedicu.Aggregator("fedavg").aggregate(received, [("a", 1, {**named, "w": tensor})])
            whole = pathlib.Path(path).read_bytes()
            for cut in (0, 7, 20, len(whole) - 1):
                with open(os.path.join(folder, "cut"), "wb") as file:
                    file.write(whole[:cut])
                with self.assertRaisesRegex(fedicu.RoundRejectedError, "^Client 'a': .*cut': tensor '[wb]'"):
                    tensors = {name: fedicu.FileTensor(os.path.join(folder, "cut"), name) for name in received}
                    fedicu.Aggregator("fedavg").aggregate(received, [("a", 1, tensors)])
            with self.assertRaisesRegex(fedicu.InvalidArgumentError, "The result: tensor 'w' is in a file"):
                fedicu.Aggregator("fedavg").aggregate(received, [("a", 1, trained)], out=named)
            in_files, in_memory = (fedicu.mask(model, received, mask="top=0.25") for model in (named, trained))
            self.assertEqual(in_files.metadata, in_memory.metadata)
            with self.assertRaisesRegex(fedicu.InvalidArgumentError, "out is missing"):
                fedicu.Aggregator("fedavg").aggregate(named, [("a", 1, trained)])

    @unittest.skipUnless(os.environ.get("FEDICU_LIBRARY", "").endswith(".dll"), "the shared library has no GPU backend")
    def test_a_gpu_gives_the_same_bits(self):
        try:
            device = fedicu.Aggregator("fedavg", backend="opencl")
        except fedicu.FedIcuError as error:
            self.skipTest(str(error))
        random = np.random.default_rng(3)
        received, *trained = [{"w": random.standard_normal((900, 700)).astype(np.float32)} for _ in range(4)]
        updates = [(f"c{k}", k + 1, trained[k]) for k in range(3)]
        expected = fedicu.Aggregator("fedavg").aggregate(received, updates)
        np.testing.assert_array_equal(device.aggregate(received, updates)["w"], expected["w"])

    def test_refusals_are_exceptions_with_the_librarys_message(self):
        received, trained = models(1)
        with self.assertRaisesRegex(fedicu.InvalidOptionsError, "'fedsgd'"):
            fedicu.Aggregator("fedsgd")
        with self.assertRaisesRegex(fedicu.InvalidOptionsError, "tau"):
            fedicu.Aggregator("fedicu", tau=-1)
        aggregator = fedicu.Aggregator("fedavg")
        with self.assertRaisesRegex(fedicu.RoundRejectedError, "[Cc]lient 'a'.*'w'.*NaN|[Cc]lient 'a'.*'w'.*finite"):
            aggregator.aggregate(received, [("a", 1, {**trained, "w": np.full((30, 20), np.nan, np.float32)})])
        with self.assertRaisesRegex(fedicu.RoundRejectedError, "[Cc]lient 'a'.*'w'"):
            aggregator.aggregate(received, [("a", 1, {**trained, "w": trained["w"][:3]})])
        with self.assertRaisesRegex(fedicu.InvalidArgumentError, "added already"):
            aggregator.aggregate(received, [("a", 1, trained), ("a", 1, trained)])
        for arguments, message in (
            (
                dict(updates=[(trained, 100)]),
                r"^A client's update is a tuple of 2; an Update or \(name, weight, model\) was expected\.$",
            ),
            (dict(updates=[trained]), "^A client's update is a dict; an Update or "),
            (dict(updates=[5]), "^A client's update is an int; an Update or "),
            (dict(updates=[("a", 3, trained, False, 1)]), "^A client's update is a tuple of 5; "),
            (dict(updates=[(1, 3, trained)]), "A client's name is 1"),
            (dict(updates=[("", 3, trained)]), "A client's name is ''"),
            (dict(updates=[("a\0b", 3, trained)]), "zero character"),
            (dict(updates=[("\ud800", 3, trained)]), "not Unicode"),
            (dict(updates=[("a", 3, trained)], round="x"), "round is 'x'"),
            (dict(updates=[("a", 3, trained)], round=-1), "round is -1"),
            (dict(updates=[("a", 3, trained)], round=2**63), "round is 9223372036854775808"),
            (dict(updates=[("a", 3, trained)], out=[]), "out is a list"),
            (dict(updates=[("a", 3, trained)], out="a\0b"), "zero character"),
        ):
            with self.assertRaisesRegex(fedicu.InvalidArgumentError, message):
                aggregator.aggregate(received, **arguments)
        for wrong in (np.datetime64("2026"), None, "text", {}, [[1.0], []], [[1.0]], 1.0, (1.0, 2.0)):
            with self.assertRaisesRegex(fedicu.InvalidArgumentError, "^The global model: tensor 'w' is"):
                aggregator.aggregate({**received, "w": wrong}, [("a", 3, trained)], out=trained)
        with self.assertRaisesRegex(fedicu.InvalidArgumentError, "The global model is a list"):
            aggregator.aggregate(list(received.values()), [("a", 1, trained)])
        turned = {name: value.reshape(value.shape[::-1]) for name, value in trained.items()}
        with self.assertRaisesRegex(fedicu.InvalidArgumentError, "'w'"):
            fedicu.proximal(0.1, trained, received, turned)
        with self.assertRaisesRegex(fedicu.RoundRejectedError, "Client 'a': tensor 'w' has the type complex64"):
            aggregator.aggregate(received, [("a", 1, {**trained, "w": trained["w"].astype(np.complex64)})])
        with self.assertRaisesRegex(fedicu.FedIcuError, "missing.safetensors"):
            aggregator.aggregate(received, [("a", 1, "missing.safetensors")])
        aggregator.close()
        with self.assertRaisesRegex(fedicu.InvalidArgumentError, "handle 0"):
            _ = aggregator.report

    def test_ten_thousand_refusals_leak_nothing(self):
        received, trained = models(1)
        broken = {**trained, "w": trained["w"][:3]}
        before = None
        for i in range(10_000):
            if i == 2_000:
                before = resident_bytes()
            with fedicu.Aggregator("fedavg") as aggregator:
                try:
                    aggregator.aggregate(received, [("a", 1, broken)])
                    self.fail("accepted")
                except fedicu.RoundRejectedError:
                    pass
        gc.collect()
        self.assertEqual(fedicu.live_handles(), 0)
        self.assertLess(resident_bytes() - before, 64 << 20)


if __name__ == "__main__":
    unittest.main()
