"""A logistic regression in plain Python: its safetensors file, its data and its training."""

import json
import math
import random
import struct

FEATURES = 20


def write(path, weights, examples=None):
    metadata = {} if examples is None else {"num_examples": str(examples)}
    header = json.dumps({
        "__metadata__": metadata, "weight": {"dtype": "F32", "shape": [len(weights)], "data_offsets": [0, 4 * len(weights)]}}).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header + struct.pack(f"<{len(weights)}f", *weights))


def read(path):
    with open(path, "rb") as file:
        data = file.read()
    start = 8 + struct.unpack("<Q", data[:8])[0]
    first, end = json.loads(data[8:start])["weight"]["data_offsets"]
    return struct.unpack(f"<{(end - first) // 4}f", data[start + first:start + end])


def examples(seed, count, shift=0.0):
    """Makes examples of one true model; a client's shift moves its features, so that clients differ."""
    truth = random.Random(0)
    true_weights = [truth.gauss(0, 1) for _ in range(FEATURES)]
    source = random.Random(seed)
    offsets = [source.gauss(0, shift) for _ in range(FEATURES)]
    for _ in range(count):
        features = [source.gauss(offset, 1) for offset in offsets]
        score = sum(w * x for w, x in zip(true_weights, features)) + source.gauss(0, 1)
        yield features, 1 if score > 0 else 0


def probability(weights, features):
    score = sum(w * x for w, x in zip(weights, features))
    return 1 / (1 + math.exp(-max(-30, min(30, score))))


def train(weights, data, rate=0.1, epochs=3):
    weights = list(weights)
    for _ in range(epochs):
        for features, label in data:
            error = label - probability(weights, features)
            for i, x in enumerate(features):
                weights[i] += rate * error * x
    return weights
