"""Calls the C interface with random arguments from a fixed seed.

Every refusal must have a documented status, other than FEDICU_INTERNAL, and a message.
"""

import ctypes
import json
import math
import random
import unittest

import fedicu
from fedicu import _native

SEED, STEPS = 20, 6000
DTYPES = [
    b"F32", b"F16", b"BF16", b"F64", b"I64", b"U8", b"BOOL", b"F8_E4M3", b"F4", b"C64",
    b"", b"float32", b"complex128", b"\xff\xfe", b"F" * 5000, None,
]
LENGTHS = [0, 1, 2, 3, 5, 2**31, 2**32, 2**62, 2**63 - 1, -1, -(2**63)]
NAMES = [b"w", b"b", b"w#values", b"w#mask", b"", b"\xff", b"x" * 100_000, "é\u2028".encode(), None]
SIZES = {b"F32": 4, b"F16": 2, b"BF16": 2, b"F64": 8, b"I64": 8, b"U8": 1, b"BOOL": 1, b"F8_E4M3": 1, b"C64": 8}
TEXTS = [
    b"", b"{", b"null", b"[]", b"3", b"{}", b'{"a": 1}', b'{"a": null}', b'{"a": "\\ud800"}', b'{"strategy": null}',
    b'{"strategy": "fedavg", "threads": 99999999999}', b'{"strategy": "fedavg", "settings": []}',
    b'{"strategy": "fedavg", "settings": {"quorum": {}}}', b"[" * 200, b"\xff\xfe", b'{"fedicu.update": "sparse"}',
    b'{"round": -1}', b'{"settings": {"mask": "top=2"}}', b'{"dense": 7}',
    b'{"fedicu.update": "sparse", "fedicu.base": "x", "fedicu.shape.w": "[2, 3]"}', b'{"num_examples": "1e999"}', None,
]
# bytes of memory that tensors may describe
ROOM = 1 << 12


class Arguments:
    """Random tensors. Those that are consistent describe memory that the library may read."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.memory = ctypes.create_string_buffer(ROOM + 64)
        self.address = (ctypes.addressof(self.memory) + 63) // 64 * 64
        self.alive = []

    def tensor(self, entry, sound):
        pick = self.random.choice
        entry.name = pick(NAMES[:2] if sound else NAMES)
        entry.dtype = pick(DTYPES[:4] if sound else DTYPES)
        entry.rank = pick([0, 1, 2, 3]) if sound or self.random.random() < 0.7 else pick([-1, 64, 65, 100, 2**31 - 1])
        lengths = (ctypes.c_int64 * 128)(*[pick([1, 2, 3] if sound else LENGTHS) for _ in range(128)])
        self.alive.append(lengths)
        entry.shape = None if not sound and self.random.random() < 0.1 else lengths
        # a shape that exceeds the memory must not match nbytes, so that the library refuses it before it reads
        nbytes = math.prod(lengths[: max(min(entry.rank, 128), 0)]) * SIZES.get(entry.dtype, 1)
        honest = 0 <= nbytes <= ROOM and (sound or self.random.random() < 0.7)
        entry.nbytes = nbytes if honest else pick([1, 3, 2**40 + 1, 2**64 - 1])
        entry.data = self.address + (0 if sound else pick([0, 0, 0, 1])) if sound or self.random.random() < 0.9 else None

    def tensors(self):
        count = self.random.choice([0, 1, 2, 3])
        array = (_native.Tensor * max(count, 1))()
        sound = self.random.random() < 0.5
        for entry in array:
            self.tensor(entry, sound)
        self.alive.append(array)
        given = count if self.random.random() < 0.95 else self.random.choice([-1, -(2**63), 2**40])
        return given, array if self.random.random() < 0.95 or given != count else None

    def weight(self):
        return self.random.choice([1.0, 2.0, 0.0, -0.0, -1.0, float("nan"), float("inf"), -float("inf"), 1e308, 5e-324])

    def text(self):
        if self.random.random() < 0.8:
            return self.random.choice(TEXTS)
        data = bytearray(self.random.choice(TEXTS) or b"{}")
        for _ in range(3):
            data.insert(self.random.randrange(len(data) + 1), self.random.randrange(1, 256))
        return bytes(data)


class ExportTests(unittest.TestCase):
    def setUp(self):
        self.library = _native.library()
        self.seen = set()

    def call(self, name, *arguments):
        status = self.library._functions[name](*arguments)
        self.assertIn(status, range(10), f"{name}: {self.library._last_error()!r}")
        self.seen.add((name, status == 0))
        if status != 0:
            message = self.library._last_error().decode()
            self.assertTrue(10 < len(message) <= 1000, f"{name}: {message}")
            self.assertTrue(message.isprintable(), f"{name}: {message!r}")
        return status

    def test_random_calls_are_refused_with_a_message(self):
        given = Arguments(SEED)
        handles = [0, -1, 10**9]
        policies = ("on-unreadable", "on-weight", "on-dtype", "on-shape", "on-missing", "on-extra")
        settings = {**{policy: "drop-client" for policy in policies}, "quorum": "1"}
        for strategy in ("fedavg", "fedprox", "fedicu"):
            options = json.dumps({"strategy": strategy, "threads": 1, "settings": settings})
            handles.append(self.library.new("create", options.encode()))
        for _ in range(STEPS):
            given.alive.clear()
            handle, kind = given.random.choice(handles[:1] + handles[3:] * 20), given.random.randrange(14)
            client = given.random.choice([b"a", b"b", b"c", b"", b"\xff", None])
            flags = given.random.choice([0, 0, 0, 1, 2, 3, 4, 2**32 - 1])
            count, tensors = given.tensors()
            length, out = ctypes.c_uint64(), ctypes.c_int64()
            if kind == 0:
                self.call("begin_round", handle, given.random.choice([0, 1, -1, 2**63 - 1, -(2**63)]))
            elif kind in (1, 2):
                # never FEDICU_BORROW, since this memory is reused
                self.call("set_global", handle, count, tensors, flags & ~1)
            elif kind in (3, 4):
                status = self.call("add", handle, client, given.weight(), count, tensors, flags & ~1)
                if status == 1 and client in (b"a", b"b", b"c") and handle in handles[3:] and flags in (0, 1, 2, 3):
                    self.assertRegex(self.library._last_error().decode("utf-8"), f"[Cc]lient '{client.decode()}'")
            elif kind == 5:
                self.call("add_update", handle, client, given.weight(), given.text(), count, tensors, flags & ~1)
            elif kind == 6:
                fault, reason = [1, 2, 0, -1, 99], [b"it is broken.", b"", b"\xff", b"x" * 10_000, None]
                self.call("add_fault", handle, client, given.random.choice(fault), given.random.choice(reason))
            elif kind == 7:
                path = given.random.choice([b"nowhere", b"", b"/", b"\xff", b"/proc/self/mem", None])
                self.call("add_file", handle, client, given.weight(), path)
            elif kind in (8, 9):
                self.call("finish", handle, count, tensors)
            elif kind == 10:
                name = given.random.choice(["report_json", "export_state", "strategies"])
                handles_given = [] if name == "strategies" else [handle]
                place = given.random.choice([ctypes.byref(length), None])
                self.call(name, *handles_given, None, given.random.choice([0, 5]), place)
            elif kind == 11:
                self.call("import_state", handle, given.text())
            elif kind == 12:
                status = self.call("create", given.text(), given.random.choice([ctypes.byref(out), None]))
                if status == 0:
                    self.call("destroy", out.value)
            else:
                places = given.tensors()[1]
                # all arrays of one call must have the same length
                same = places if places is not None and len(places) >= count else tensors
                status = self.call("mask", given.text(), count, tensors, same, given.random.choice([None, same]), None, ctypes.byref(out))
                if status == 0:
                    tensor = given.random.choice([_native.Tensor(), None])
                    self.call("update_tensor", out.value, given.random.choice([0, -1, 2**63 - 1]), tensor)
                    self.call("update_destroy", out.value)
        for handle in handles[3:]:
            self.call("destroy", handle)
        # the random calls reached success and refusal of the important functions
        both = {(name, outcome) for name in ("set_global", "add", "add_fault", "finish") for outcome in (True, False)}
        self.assertLessEqual(both | {("begin_round", True), ("add_update", False), ("create", False)}, self.seen)
        self.assertEqual(fedicu.live_handles(), 0)

    def test_the_policy_decides_about_a_clients_weight(self):
        tensor = (_native.Tensor * 1)()
        data, lengths = (ctypes.c_float * 2)(1, 2), (ctypes.c_int64 * 1)(2)
        tensor[0].name, tensor[0].dtype, tensor[0].rank, tensor[0].shape, tensor[0].nbytes = b"w", b"F32", 1, lengths, 8
        tensor[0].data = ctypes.addressof(data)
        for weight in (-1.0, float("nan"), float("inf"), -float("inf")):
            for policy, expected in (("reject", 4), ("drop-client", 0)):
                options = json.dumps({"strategy": "fedavg", "settings": {"on-weight": policy, "quorum": "1"}})
                handle = self.library.new("create", options.encode())
                self.library.call("begin_round", handle, 1)
                self.library.call("set_global", handle, 1, tensor, 0)
                self.library.call("add", handle, b"a", weight, 1, tensor, 0)
                self.library.call("add", handle, b"b", 1.0, 1, tensor, 0)
                self.assertEqual(self.call("finish", handle, 1, tensor), expected)
                if expected == 4:
                    self.assertRegex(self.library._last_error().decode(), "^Client 'a' has the weight")
                self.library.call("destroy", handle)

    def test_shapes_have_at_most_64_dimensions(self):
        tensor = (_native.Tensor * 1)()
        data, lengths = (ctypes.c_float * 1)(1), (ctypes.c_int64 * 65)(*[1] * 65)
        tensor[0].name, tensor[0].dtype, tensor[0].shape, tensor[0].nbytes = b"w", b"F32", lengths, 4
        tensor[0].data = ctypes.addressof(data)
        handle = self.library.new("create", b'{"strategy": "fedavg"}')
        for rank, status in ((64, 0), (65, 1)):
            tensor[0].rank = rank
            self.library.call("begin_round", handle, 1)
            self.assertEqual(self.call("add", handle, b"a", 1.0, 1, tensor, 0), status)
        self.assertRegex(self.library._last_error().decode(), "^Client 'a': tensor 'w': its rank is 65")
        self.library.call("destroy", handle)


if __name__ == "__main__":
    unittest.main()
