"""The labels of Flower's arrays, against stand-ins for Flower's classes: type, shape and serialization."""

import io
import unittest

import numpy as np

import standin_flower as flower
from arrays import forms
from standin_flower import Parameters, fit_result, reply, saved
from test_flower import models

import fedicu
from fedicu.flower import FedICU, FedICUMod, LegacyFedICU


def bfloat16(array, form="<u2"):
    """The upper 16 bits of each value, in one of the forms that people label bfloat16."""
    bits = (array.astype(np.float32).view(np.uint32) >> 16).astype("<u2")
    payload = bits.view("V2") if form == "V2" else bits.astype(form)
    return flower.Array(dtype="bfloat16", shape=payload.shape, stype="numpy.ndarray", data=saved(payload))


def widened(array):
    """The values in an array of :func:`bfloat16`, as float32."""
    payload = array.numpy()
    bits = payload.view(np.uint16) if payload.dtype.kind == "V" else payload.astype(np.uint16)
    return (bits.astype(np.uint32) << 16).view(np.float32)


class LabelTests(unittest.TestCase):
    def round(self, strategy, received, *clients, weights=(1, 3)):
        """Aggregates a round of models with one array each, and returns the result's array."""
        own = FedICU(aggregator=strategy)
        own.configure_train(1, flower.ArrayRecord({"w": received}), {}, None)
        replies = []
        for k, array in enumerate(clients):
            replies.append(reply(k, {}, weights[k]))
            replies[-1].content.array_records["arrays"]["w"] = array
        return own.aggregate_train(1, replies)[0]["w"]

    def test_arrays_labelled_bfloat16_are_averaged_as_bfloat16(self):
        received, *trained = (model["w"] for model in models(3))
        for form in ("<u2", ">u2", "V2"):
            arrays = [bfloat16(trained[0], form), bfloat16(trained[1], form)]
            made = self.round("fedavg", bfloat16(received, form), *arrays)
            self.assertEqual((made.dtype, made.shape, made.stype), ("bfloat16", (40, 30), "numpy.ndarray"))
            self.assertEqual(made.numpy().dtype, np.dtype("V2") if form == "V2" else np.dtype("<u2"))
            exact = (widened(arrays[0]).astype(np.float64) + 3 * widened(arrays[1])) / 4
            np.testing.assert_allclose(widened(made), exact, rtol=2**-8, atol=0)
            alone = self.round("fedavg", bfloat16(received, form), arrays[0])
            np.testing.assert_array_equal(widened(alone), widened(arrays[0]))

    def test_the_result_has_the_received_models_label(self):
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

    def test_uint16_without_the_label_stays_an_integer(self):
        clients = [flower.Array(np.array(values, np.uint16)) for values in ([2, 16000], [6, 16000])]
        made = self.round("fedavg", flower.Array(np.zeros(2, np.uint16)), *clients)
        self.assertEqual((made.dtype, made.numpy().tolist()), ("uint16", [5, 16000]))
        with self.assertRaisesRegex(fedicu.RoundRejectedError, "Client '0': tensor 'w' has the type U16; a float type"):
            self.round("fedavg", bfloat16(np.zeros(2)), flower.Array(np.zeros(2, np.uint16)))

    def test_other_names_of_a_type_and_no_label_are_accepted(self):
        received, trained = (model["w"] for model in models(2))
        for label in ("float32", "<f4", "f4", "single", "torch.float32", ""):
            array = flower.Array(trained)
            array.dtype = label
            np.testing.assert_array_equal(self.round("fedavg", flower.Array(received), array).numpy(), trained)
        # arrays made from numbered parameters have neither type nor shape
        array.shape = ()
        np.testing.assert_array_equal(self.round("fedavg", flower.Array(received), array).numpy(), trained)
        bare = flower.Array(dtype="", shape=(), stype="numpy.ndarray", data=saved(received))
        made = self.round("fedavg", bare, array)
        self.assertEqual((made.dtype, made.shape), ("", ()))

    def test_an_array_that_contradicts_its_label_is_refused(self):
        received, trained = (model["w"] for model in models(2))
        for change, message in (
            ({"dtype": "float64"}, "is labelled 'float64'; its bytes are float32"),
            ({"dtype": ">f4"}, "is labelled '>f4'; its bytes are float32"),
            ({"dtype": "bfloat16"}, "is labelled 'bfloat16'; its bytes are float32"),
            ({"dtype": "f16"}, "is labelled 'f16'; its bytes are float32"),
            ({"shape": (30, 40)}, r"is labelled with the shape \(30, 40\); its bytes have \(40, 30\)"),
            ({"shape": ()}, r"is labelled with the shape \(\)"),
            ({"stype": "torch"}, "is serialized as 'torch'; 'numpy.ndarray' was expected"),
        ):
            array = flower.Array(trained)
            for name, value in change.items():
                setattr(array, name, value)
            with self.assertRaisesRegex(fedicu.RoundRejectedError, f"^Client '0': tensor 'w' {message}"):
                self.round("fedavg", flower.Array(received), array)
            with self.assertRaisesRegex(fedicu.InvalidArgumentError, f"^The global model: tensor 'w' {message}"):
                self.round("fedavg", array, flower.Array(trained))
        message = "^Client '0': tensor 'w' is labelled 'bfloat16'; its bytes are int16"
        with self.assertRaisesRegex(fedicu.RoundRejectedError, message):
            self.round("fedavg", bfloat16(received), bfloat16(trained, "<i2"))

    def test_the_mod_masks_bfloat16(self):
        received, trained = (model["w"] for model in models(2))
        for ratio in (0.25, 1):
            answer = reply(0, {}, 1)
            answer.has_error = lambda: False
            answer.content.array_records["arrays"]["w"] = bfloat16(trained)
            message = flower.train_message({})
            message.content.array_records["arrays"]["w"] = bfloat16(received)
            context = flower.context()
            made = FedICUMod(keep_momentum=True, mask=f"top={ratio}")(message, context, lambda message, context: answer)
            sent = made.content.array_records["arrays"]["w"]
            self.assertEqual(sent.dtype, "uint8" if ratio < 1 else "bfloat16")
            self.assertEqual(context.state.array_records["fedicu.momentum"]["w"].dtype, "float32")
            made = widened(self.round("fedavg", bfloat16(received), sent))
            changed = made != widened(bfloat16(received))
            self.assertEqual(changed.mean(), ratio)
            np.testing.assert_array_equal(made[changed], widened(bfloat16(trained))[changed])

    def test_arrays_of_every_byte_order_and_memory_layout_are_read(self):
        for shape in ((), (0,), (4, 5)):
            received = np.zeros(shape, np.float32)
            trained = np.arange(1, 1 + int(np.prod(shape)), dtype=np.float32).reshape(shape)
            for name, array in forms(trained).items():
                with self.subTest(name, shape=shape):
                    made = self.round("fedavg", flower.Array(forms(received)[name]), flower.Array(array))
                    self.assertEqual((made.dtype, made.shape), ("float32", shape))
                    np.testing.assert_array_equal(made.numpy(), trained)
                    older = LegacyFedICU(aggregator="fedavg")
                    older.configure_fit(1, Parameters([saved(forms(received)[name])], "numpy.ndarray"), None)
                    parameters, _ = older.aggregate_fit(1, [fit_result("a", [array])], [])
                    np.testing.assert_array_equal(np.load(io.BytesIO(parameters.tensors[0])), trained)

    def test_the_older_api_has_no_labels(self):
        older = LegacyFedICU(aggregator="fedavg")
        older.configure_fit(1, Parameters([saved(np.zeros(2, np.uint16))], "numpy.ndarray"), None)
        for array, message in (
            (np.zeros(2, "V2"), "^Client 'a': tensor '0' has the type void16"),
            (np.zeros(2, "f4"), "^Client 'a': tensor '0' has the type F32"),
        ):
            with self.assertRaisesRegex(fedicu.RoundRejectedError, message):
                older.aggregate_fit(1, [fit_result("a", [array])], [])


if __name__ == "__main__":
    unittest.main()
