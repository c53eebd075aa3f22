"""The client's side of the package, through the library that FEDICU_LIBRARY names."""

import os
import tempfile
import unittest

import numpy as np

from arrays import forms, models

import fedicu

try:
    import torch
except ImportError:
    torch = None


class ClientTests(unittest.TestCase):
    def test_a_masked_update_is_aggregated(self):
        received, trained = models(1)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "update.safetensors")
            self.assertEqual(fedicu.mask(received, trained, mask="top=0.25").momentum, {})
            update = fedicu.mask(received, trained, keep_momentum=True, mask="top=0.25", path=path, round=3)
            self.assertEqual(update.tensors["w#values"].shape, (150,))
            self.assertEqual(update.dtypes["w#mask"], "U8")
            self.assertEqual(update.metadata["round"], "3")
            result = fedicu.Aggregator("fedavg").aggregate(received, [("a", 1, path)])
            sent = result["w"] != received["w"]
            self.assertEqual(int(sent.sum()), 150)
            np.testing.assert_array_equal(result["w"][sent], trained["w"][sent])
            for name in received:
                change = trained[name].astype(np.float64) - received[name]
                np.testing.assert_array_equal(update.momentum[name], change.astype(np.float32))
            again = fedicu.mask(received, trained, update.momentum, mask="top=0.25")
            self.assertEqual(again.momentum["w"].dtype, np.float32)

    def test_masked_updates_in_memory_and_in_files_give_the_same_bits(self):
        received, *trained = models(2)
        kinds = [lambda model: model]
        if torch is not None:
            kinds.append(lambda model: {name: torch.from_numpy(array).bfloat16() for name, array in model.items()})
        for kind in kinds:
            model, clients = kind(received), [kind(each) for each in trained]
            with tempfile.TemporaryDirectory() as folder, fedicu.Aggregator("fedicu") as aggregator:
                paths = [os.path.join(folder, f"{k}.safetensors") for k in range(2)]
                updates = [fedicu.mask(model, clients[k], mask="top=0.25", path=paths[k]) for k in range(2)]
                here = aggregator.aggregate(model, [(f"c{k}", k + 1, updates[k]) for k in range(2)])
                there = aggregator.aggregate(model, [(f"c{k}", k + 1, paths[k]) for k in range(2)])
                for name in received:
                    self.assertTrue(bool((here[name] == there[name]).all()))
                metadata = {key: value for key, value in updates[0].metadata.items() if "shape" not in key}
                for broken, message in (
                    (metadata, "[Cc]lient 'c0'.*'w'.*no shape"),
                    ({**metadata, "fedicu.shape.w": None}, "Client 'c0': its metadata's 'fedicu.shape.w' is None"),
                ):
                    update = fedicu.MaskedUpdate(updates[0].tensors, updates[0].dtypes, broken)
                    with self.assertRaisesRegex(fedicu.RoundRejectedError, message):
                        aggregator.aggregate(model, [("c0", 1, update)])

    def test_the_proximal_term_and_its_gradient(self):
        received, trained = models(1, dtype=np.float64)
        gradients = {name: np.ones_like(value) for name, value in received.items()}
        value = fedicu.proximal(0.3, trained, received, gradients)
        self.assertAlmostEqual(value, 0.15 * sum(((trained[name] - received[name]) ** 2).sum() for name in received), places=10)
        for name in received:
            np.testing.assert_allclose(gradients[name], 1 + 0.3 * (trained[name] - received[name]), rtol=1e-14)

    def test_every_memory_layout_is_read(self):
        for shape in ((), (0,), (4, 5)):
            x = np.zeros(shape, np.float32)
            y = np.arange(1, 1 + int(np.prod(shape)), dtype=np.float32).reshape(shape)
            expected, gradient = fedicu.mask({"x": x}, {"x": y}, {"x": x}, mask="hard"), np.ones(shape, np.float32)
            value = fedicu.proximal(0.5, {"x": y}, {"x": x}, {"x": gradient})
            for (name, global_model), local, momentum in zip(forms(x).items(), forms(y).values(), forms(x).values()):
                with self.subTest(name, shape=shape):
                    made = fedicu.mask({"x": global_model}, {"x": local}, {"x": momentum}, mask="hard")
                    self.assertEqual(made.metadata, expected.metadata)
                    for key, array in expected.tensors.items():
                        np.testing.assert_array_equal(made.tensors[key], array)
                    np.testing.assert_array_equal(made.momentum["x"], expected.momentum["x"])
                    own = np.ones(shape, np.float32)
                    self.assertEqual(fedicu.proximal(0.5, {"x": local}, {"x": global_model}, {"x": own}), value)
                    np.testing.assert_array_equal(own, gradient)


if __name__ == "__main__":
    unittest.main()
