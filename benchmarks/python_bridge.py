"""Measures rounds through the Python package: python_bridge.py STRATEGY ROUNDS, or python_bridge.py table ROUNDS [BRIDGE ...].

STRATEGY ROUNDS prints the medians of the library's finish and of the whole round as JSON, in milliseconds, with results in
existing memory. "table" prints a table of all bridges on their default path, and of the frameworks' own FedAvg. A bridge is
numpy, torch, flower or nvflare. Flower and NVFlare are measured if they, or their sources, are on the PYTHONPATH. Each line
is measured in a process of its own: ten clients of 100 MB in ten tensors.
"""

import ctypes
import io
import json
import pathlib
import statistics
import subprocess
import sys
import time
import types

import numpy as np

import fedicu
from fedicu import _native

CLIENTS, TENSORS = 10, 10
# elements of a tensor of 10 MB: 2,500 x 1,000 of float32, twice as many of bfloat16
SHAPES = {"f32": (2500, 1000), "bf16": (5000, 1000)}
STANDINS = pathlib.Path(__file__).resolve().parents[1] / "tests" / "FedICU.Interop.Tests" / "python"
CASES = [
    ("numpy", "f32", "ours"), ("torch", "f32", "ours"), ("torch", "bf16", "ours"),
    ("flower", "f32", "ours"), ("flower", "f32", "framework's"), ("flower", "bf16", "ours"),
    ("nvflare", "f32", "ours"), ("nvflare", "f32", "framework's"), ("nvflare", "bf16", "ours"), ("nvflare", "bf16", "framework's"),
]
native_seconds = 0.0
finishing = []
call = _native.Library.call


def timed(self, name, *arguments):
    global native_seconds
    start = time.perf_counter()
    call(self, name, *arguments)
    native_seconds += time.perf_counter() - start
    if name == "finish":
        finishing.append(time.perf_counter() - start)


def new_models(dtype):
    """Makes the received model and the clients'. bfloat16 comes as the upper halves of float32, in uint16."""
    random = np.random.default_rng(1)
    models = []
    for _ in range(CLIENTS + 1):
        arrays = {str(i): random.standard_normal(SHAPES[dtype], np.float32) for i in range(TENSORS)}
        if dtype == "bf16":
            arrays = {name: (array.view(np.uint32) >> 16).astype(np.uint16) for name, array in arrays.items()}
        models.append(arrays)
    return models


def as_torch(models, dtype):
    import torch

    if dtype == "f32":
        return [{name: torch.from_numpy(array) for name, array in model.items()} for model in models]
    return [{name: torch.from_numpy(array.view(np.int16)).view(torch.bfloat16) for name, array in model.items()} for model in models]


def plain_round(models):
    aggregator = fedicu.Aggregator("fedavg")
    return lambda: aggregator.aggregate(models[0], [(f"client-{k:02}", k, models[k]) for k in range(1, CLIENTS + 1)])


def flower_round(models, dtype, whose):
    sys.path.insert(0, str(STANDINS))
    import standins  # noqa: F401
    from flwr.common import Array, ArrayRecord, MetricRecord, RecordDict
    from flwr.serverapp.strategy import FedAvg

    from fedicu.flower import FedICU

    def record(model):
        arrays = {}
        for name in list(model):
            file = io.BytesIO()
            np.save(file, model[name])
            label = "bfloat16" if dtype == "bf16" else "float32"
            arrays[name] = Array(dtype=label, shape=model.pop(name).shape, stype="numpy.ndarray", data=file.getvalue())
        return ArrayRecord(arrays)

    received, replies = record(models[0]), []
    for k in range(1, CLIENTS + 1):
        content = RecordDict({"arrays": record(models[k]), "metrics": MetricRecord({"num-examples": k})})
        replies.append(types.SimpleNamespace(
            content=content, has_error=lambda: False, has_content=lambda: True, metadata=types.SimpleNamespace(src_node_id=k)))
    strategy = FedICU(strategy="fedavg") if whose == "ours" else FedAvg()
    strategy._received = received
    return lambda: strategy.aggregate_train(1, replies)


def nvflare_round(models, dtype, whose):
    sys.path.insert(0, str(STANDINS))
    import standins  # noqa: F401
    from nvflare.app_common.abstract.fl_model import FLModel, ParamsType
    from nvflare.app_common.aggregators.weighted_aggregation_helper import WeightedAggregationHelper

    from fedicu.nvflare import FedICUModelAggregator

    if dtype == "bf16":
        models = as_torch(models, dtype)
    if whose == "ours":
        aggregator = FedICUModelAggregator("fedavg")
        aggregator.received = models[0]

        def run():
            for k in range(1, CLIENTS + 1):
                meta = {"client_name": f"client-{k:02}", "NUM_STEPS_CURRENT_ROUND": k}
                aggregator.accept_model(FLModel(params=models[k], params_type=ParamsType.FULL, meta=meta))
            return aggregator.aggregate_model()

        return run

    def run_framework():
        helper = WeightedAggregationHelper()
        for k in range(1, CLIENTS + 1):
            helper.add(data=models[k], weight=float(k), contributor_name=f"client-{k:02}", contribution_round=0)
        return helper.get_result()

    return run_framework


def memory(field):
    """Returns a field of the process's status, in MB."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024 / 1e6
    raise ValueError(field)


def measure(bridge, dtype, whose, rounds):
    """Prints the medians of the round and of the library's calls in ms, and the peak of memory above the inputs in MB."""
    global native_seconds
    models = new_models(dtype)
    if bridge == "flower":
        run = flower_round(models, dtype, whose)
    elif bridge == "nvflare":
        run = nvflare_round(models, dtype, whose)
    else:
        run = plain_round(models if bridge == "numpy" else as_torch(models, dtype))
    whole, native, peaks = [], [], []
    for _ in range(rounds + 1):
        # memory that was freed goes back to the system, so that new memory counts
        ctypes.CDLL(None).malloc_trim(0)
        native_seconds, before = 0.0, memory("VmRSS")
        # the peak begins again
        pathlib.Path("/proc/self/clear_refs").write_text("5")
        start = time.perf_counter()
        made = run()
        whole.append(1e3 * (time.perf_counter() - start))
        native.append(1e3 * native_seconds)
        peaks.append(memory("VmHWM") - before)
        del made
    print(json.dumps([statistics.median(whole[1:]), statistics.median(native[1:]), statistics.median(peaks[1:])]))


def print_table(rounds, bridges):
    print("| bridge | type | round, ms | the library's calls, ms | added, ms | framework's own FedAvg, ms | peak memory, MB "
          "| framework's peak, MB |")
    print("|---|---|--:|--:|--:|--:|--:|--:|")
    results = {}
    for bridge, dtype, whose in CASES:
        if bridges and bridge not in bridges:
            continue
        done = subprocess.run([sys.executable, __file__, "case", bridge, dtype, whose, str(rounds)], capture_output=True, text=True)
        lines = done.stdout.strip().splitlines()
        results[bridge, dtype, whose] = json.loads(lines[-1]) if done.returncode == 0 else done.stderr.strip().splitlines()[-1]
    for (bridge, dtype, whose), result in results.items():
        if whose != "ours":
            continue
        if isinstance(result, str):
            print(f"| {bridge} | {dtype} | {result} |")
            continue
        whole, native, peak = result
        theirs = results.get((bridge, dtype, "framework's"))
        if isinstance(theirs, list):
            own, own_peak = f"{theirs[0]:.0f}", f"{theirs[2]:.0f}"
        else:
            own, own_peak = theirs or "-", "-"
        print(f"| {bridge} | {dtype} | {whole:.0f} | {native:.0f} | {whole - native:.1f} | {own} | {peak:.0f} | {own_peak} |")


def measure_finish(strategy, rounds):
    models = new_models("f32")
    out = {name: np.empty_like(array) for name, array in models[0].items()}
    aggregator = fedicu.Aggregator(strategy)
    whole = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        aggregator.aggregate(models[0], [(f"client-{k:02}", k, models[k]) for k in range(1, CLIENTS + 1)], out=out)
        whole.append(time.perf_counter() - start)
    print(json.dumps([1e3 * statistics.median(finishing[1:]), 1e3 * statistics.median(whole[1:])]))


if len(sys.argv) < 3:
    sys.exit(__doc__)
_native.Library.call = timed
if sys.argv[1] == "table":
    print_table(int(sys.argv[2]), sys.argv[3:])
elif sys.argv[1] == "case":
    measure(*sys.argv[2:5], int(sys.argv[5]))
else:
    measure_finish(sys.argv[1], int(sys.argv[2]))
