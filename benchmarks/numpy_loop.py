#!/usr/bin/python3
"""What a Python server does: acc += x * w over 10 clients of 25 million float32 parameters, in numpy; prints the median and least time of 15."""
import statistics
import sys
import time

import numpy as np

WIDTH, INNER, RANK, CLIENTS = 4096, 11008, 10, 10
MAPS = [(WIDTH, WIDTH)] * 4 + [(INNER, WIDTH)] * 2 + [(WIDTH, INNER)]
LAYOUTS = {
    "Lora": [shape for _ in range(32) for rows, columns in MAPS for shape in ((RANK, columns), (rows, RANK))],
    "Matrix": [(5000, 5000)],
}


def aggregate(clients, weights):
    result = []
    for tensors in zip(*clients):
        acc = np.zeros_like(tensors[0])
        for x, w in zip(tensors, weights):
            acc += x * w
        result.append(acc)
    return result


def main():
    weights = [np.float32(w / 55) for w in range(1, CLIENTS + 1)]
    for name in sys.argv[1:] or LAYOUTS:
        generator = np.random.default_rng(1)
        clients = [[generator.standard_normal(shape, dtype=np.float32) for shape in LAYOUTS[name]] for _ in range(CLIENTS)]
        times = []
        for _ in range(18):
            start = time.perf_counter()
            aggregate(clients, weights)
            times.append((time.perf_counter() - start) * 1000)
        times = times[3:]
        print(f"numpy loop, {name}: median {statistics.median(times):.1f} ms, least {min(times):.1f} ms")


main()
