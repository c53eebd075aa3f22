"""The package itself: its version, what its objects show, and the message without a library."""

import ctypes
import gc
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

import numpy as np

import fedicu
from fedicu._memory import new_bytes

try:
    import torch
except ImportError:
    torch = None

PACKAGE = pathlib.Path(fedicu.__file__).resolve().parent


class PackageTests(unittest.TestCase):
    def test_the_version_is_the_repositorys(self):
        root = next(folder for folder in pathlib.Path(__file__).resolve().parents if (folder / "FedICU.Core.sln").exists())
        stated = re.search("<Version>(.*)</Version>", (root / "Directory.Build.props").read_text())[1]
        self.assertEqual(fedicu.__version__, stated)

    def test_objects_show_what_they_are(self):
        model = {"w": np.zeros((4, 3), np.float32), "b": np.zeros(3, np.float32)}
        aggregator = fedicu.Aggregator("fedicu", tau=0.5, on_nonfinite="drop-client")
        self.assertEqual(repr(aggregator), "Aggregator('fedicu', tau=0.5, on_nonfinite='drop-client')")
        aggregator.close()
        self.assertEqual(repr(aggregator), "Aggregator('fedicu', tau=0.5, on_nonfinite='drop-client') (closed)")
        self.assertEqual(
            repr(fedicu.Update("a", 3, model, delta=True, loss=0.5)), "Update('a', weight=3, 2 tensors, 60 bytes, delta, loss=0.5)")
        self.assertEqual(repr(fedicu.Update("a", None, "a.safetensors")), "Update('a', weight=None, 'a.safetensors')")
        self.assertEqual(repr(fedicu.Adapter(model, {"r": 8, "lora_alpha": 16})), "Adapter(2 tensors, 60 bytes, r=8, lora_alpha=16)")
        self.assertEqual(repr(fedicu.Adapter(model)), "Adapter(2 tensors, 60 bytes, without a configuration)")
        masked = fedicu.mask(model, {name: array + 1 for name, array in model.items()}, keep_momentum=True, mask="top=1")
        self.assertRegex(repr(masked), r"^MaskedUpdate\(\d tensors, \d+ bytes, with a momentum\)$")

    def test_a_missing_library_names_the_places_and_the_command(self):
        with tempfile.TemporaryDirectory() as folder:
            for named in (None, os.path.join(folder, "libfedicu.so")):
                environment = {key: value for key, value in os.environ.items() if key != "FEDICU_LIBRARY"}
                environment.update({"FEDICU_LIBRARY": named} if named else {}, PYTHONPATH=str(PACKAGE.parent))
                done = subprocess.run(
                    [sys.executable, "-c", "import fedicu; fedicu.strategies()"], env=environment, capture_output=True, text=True)
                message = done.stderr.splitlines()[-1]
                place = named or str(PACKAGE / "libfedicu.so")
                self.assertTrue(message.startswith(f"ImportError: FedICU's library was not found at {place}"), message)
                self.assertIn("wheel.sh", message)
                self.assertIn("dotnet publish src/FedICU.Interop", message)


    def test_a_missing_framework_is_named_with_its_command(self):
        for module, sentence in (
            ("flower", 'fedicu.flower needs Flower 1.22 or later; pip install "flwr>=1.22" installs it.'),
            ("nvflare", 'fedicu.nvflare needs NVFlare; "pip install nvflare" installs it.'),
        ):
            # None in sys.modules is a package that cannot be found
            package = "flwr" if module == "flower" else module
            code = f"import sys; sys.modules[{package!r}] = None; import fedicu.{module}"
            done = subprocess.run(
                [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)}, capture_output=True, text=True)
            self.assertEqual(done.stderr.splitlines()[-1], f"ImportError: {sentence}")
            self.assertNotIn("During handling", done.stderr)


class MemoryTests(unittest.TestCase):
    def test_pythons_functions_keep_the_types_that_others_gave_them(self):
        create = ctypes.pythonapi.PyBytes_FromStringAndSize
        before = create.restype, create.argtypes
        try:
            create.restype, create.argtypes = ctypes.c_int, None
            data, memory = new_bytes(8)
            memory[:] = 66
            self.assertEqual(data, b"B" * 8)
            self.assertEqual((create.restype, create.argtypes), (ctypes.c_int, None))
        finally:
            create.restype, create.argtypes = before

    @unittest.skipIf(torch is None, "torch is missing")
    def test_results_for_torch_lie_in_numpys_memory_and_keep_it_alive(self):
        for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.int64):
            received, trained = (
                {"w": torch.full((300, 400), value, dtype=dtype), "s": torch.tensor(value, dtype=dtype)} for value in (1, 3))
            made = fedicu.Aggregator("fedavg").aggregate(received, [("a", 1, trained), ("b", 1, trained)])
            gc.collect()
            # memory that was freed would be used again by these
            noise = [np.full((300, 400), 7, np.float32) for _ in range(20)]
            self.assertEqual((made["w"].dtype, made["w"].shape, made["s"].shape), (dtype, (300, 400), ()))
            self.assertTrue(torch.equal(made["w"], trained["w"]) and torch.equal(made["s"], trained["s"]))
            made["w"][0, 0] = 5
            view = made["w"][1:]
            del made, noise
            gc.collect()
            self.assertTrue(torch.equal(view, trained["w"][1:]))

    def test_bytes_are_filled_in_place(self):
        for length in (2, 100, 5_000_000):
            data, memory = new_bytes(length)
            memory[:] = 65
            self.assertEqual(data, b"A" * length)
            del data
            gc.collect()
            self.assertEqual(memory.tobytes(), b"A" * length)


if __name__ == "__main__":
    unittest.main()
