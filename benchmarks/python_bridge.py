"""Measures rounds through the Python package, and the part of them that the library's own finish takes.

The arguments are STRATEGY ROUNDS. Prints the medians of finish and of the whole round as JSON, in milliseconds."""

import json
import statistics
import sys
import time

import numpy as np

import fedicu
from fedicu import _native

strategy, rounds = sys.argv[1], int(sys.argv[2])
random = np.random.default_rng(1)
models = [{str(i): random.standard_normal((2500, 1000), np.float32) for i in range(10)} for _ in range(11)]
out = {name: np.empty_like(array) for name, array in models[0].items()}
aggregator = fedicu.Aggregator(strategy)
finishing, whole = [], []
call = _native.Library.call


def timed(self, name, *arguments):
    start = time.perf_counter()
    call(self, name, *arguments)
    if name == "finish":
        finishing.append(time.perf_counter() - start)


_native.Library.call = timed
for i in range(rounds + 1):
    start = time.perf_counter()
    aggregator.aggregate(models[0], [(f"client-{k:02}", k, models[k]) for k in range(1, 11)], out=out)
    whole.append(time.perf_counter() - start)
print(json.dumps([1e3 * statistics.median(finishing[1:]), 1e3 * statistics.median(whole[1:])]))
