"""A reader of safetensors files written from the format's description, independent of the library: no code shared, every rule checked.

usage: reference_reader.py FILE
prints one JSON object: metadata, tensors (name, dtype, shape, sum of the elements where numpy knows the type), digest.
"""
import hashlib
import json
import struct
import sys

import numpy as np

BITS = {"F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I64": 64, "I32": 32, "I16": 16, "I8": 8, "U64": 64, "U32": 32, "U16": 16, "U8": 8,
        "BOOL": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E5M2FNUZ": 8, "F8_E4M3FNUZ": 8, "F8_E8M0": 8,
        "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4, "C64": 64}
NUMPY = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U64": "<u8", "U32": "<u4",
         "U16": "<u2", "U8": "u1", "BOOL": "?", "C64": "<c8"}


def unique(pairs):
    keys = [key for key, _ in pairs]
    assert len(keys) == len(set(keys)), "duplicate key"
    return dict(pairs)


def elements(dtype, raw, shape):
    if dtype == "BF16":
        return (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4").reshape(shape)
    return np.frombuffer(raw, NUMPY[dtype]).reshape(shape) if dtype in NUMPY else None


def read(path):
    with open(path, "rb") as file:
        data = file.read()
    (length,) = struct.unpack("<Q", data[:8])
    assert length <= 100_000_000 and 8 + length <= len(data), "header length"
    text = data[8:8 + length].decode("utf-8", "strict")
    assert text[0] == "{" and text.rstrip(" ")[-1] == "}", "header start, padding"
    assert (8 + length) % 8 == 0, "data start aligned"
    header = json.loads(text, object_pairs_hook=unique)
    metadata = header.pop("__metadata__", {})
    assert all(isinstance(value, str) for value in metadata.values()), "metadata"

    end, tensors, digest = 0, {}, hashlib.sha256()
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        assert sorted(entry) == ["data_offsets", "dtype", "shape"], "fields"
        start, stop = entry["data_offsets"]
        assert start == end, "hole or overlap"
        bits = BITS[entry["dtype"]]
        for dimension in entry["shape"]:
            assert isinstance(dimension, int) and dimension >= 0
            bits *= dimension
        assert bits % 8 == 0 and bits // 8 == stop - start, "size"
        end = stop
        tensors[name] = (entry["dtype"], entry["shape"], data[8 + length + start:8 + length + stop])
    assert end == len(data) - 8 - length, "data section covered"

    for name in sorted(tensors, key=lambda name: name.encode()):
        dtype, shape, raw = tensors[name]
        digest.update(struct.pack("<I", len(name.encode())) + name.encode() + struct.pack("<B", len(dtype)) + dtype.encode())
        digest.update(struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape) + hashlib.sha256(raw).digest())
    return metadata, tensors, "sha256:" + digest.hexdigest()


def main():
    metadata, tensors, digest = read(sys.argv[1])
    listed = []
    for name, (dtype, shape, raw) in tensors.items():
        values = elements(dtype, raw, shape)
        assert values is None or list(values.shape) == shape
        total = None if values is None else str(complex(values.sum(dtype="c16")).real)
        listed.append({"name": name, "dtype": dtype, "shape": shape, "sum": total})
    json.dump({"metadata": metadata, "tensors": listed, "digest": digest}, sys.stdout)


main()
