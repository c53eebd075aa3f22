#!/usr/bin/python3
"""Measures rounds over the benchmark suite's files as a Python server runs them, with numpy and torch.

The suite starts the script with FOLDER OUT SECONDS. FOLDER contains global.safetensors, client-*.safetensors and the
library's results: median.safetensors, krum.safetensors, bulyan.safetensors and, where all peers are measured,
fedicu.safetensors. Client k has k + 1 examples. FEDICU_FLOWER may name Flower's file aggregate.py
(framework/py/flwr/server/strategy): then its own functions are measured too."""
import functools
import glob
import importlib.util
import json
import os
import struct
import sys
import time
import types

TAU, EPS = 0.1, 1e-12
results = []


def measure(name, round_):
    start = time.perf_counter()
    first = round_()
    times, elapsed = [], time.perf_counter() - start
    if elapsed > 5:
        # a round of many seconds is its own warm-up
        times.append(elapsed * 1000)
    start = time.perf_counter()
    while not times or (len(times) < 15 and time.perf_counter() - start < SECONDS and elapsed < 5):
        one = time.perf_counter()
        round_()
        times.append((time.perf_counter() - one) * 1000)
    results.append({"name": name, "milliseconds": times})
    return first


def read(path):
    """Reads the tensors in the order of their names as numpy arrays. A bf16 value is read as an int16 of its bits."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        tensors = []
        for _, info in sorted(header.items()):
            file.seek(8 + length + info["data_offsets"][0])
            dtype = {"F32": np.float32, "F16": np.float16, "BF16": np.int16}[info["dtype"]]
            tensors.append(np.fromfile(file, dtype, int(np.prod(info["shape"]))).reshape(info["shape"]))
        return tensors, next(iter(header.values()))["dtype"]


def numpy_loop():
    for tensors in zip(*clients):
        acc = np.zeros_like(tensors[0])
        for x, w in zip(tensors, shares):
            acc += x * w


def numpy_reduce():
    scaled = [[layer * examples for layer in client] for client, examples in zip(clients, range(1, N + 1))]
    return [functools.reduce(np.add, layers) / total for layers in zip(*scaled)]


def numpy_median():
    return [np.median(np.stack(tensors), axis=0) for tensors in zip(*clients)]


def numpy_trimmed_mean():
    g = int(0.2 * N + 1e-9)
    return [np.sort(np.stack(tensors), axis=0)[g : N - g].mean(0) for tensors in zip(*clients)]


def torch_median():
    # the lower of the two middle values where their number is even
    return [torch.stack(tensors).median(0).values for tensors in zip(*tclients)]


def numpy_krum():
    flat = [np.concatenate(client, axis=None) for client in clients]
    distances = np.zeros((N, N))
    for i in range(N):
        for j in range(i):
            distances[i, j] = distances[j, i] = np.linalg.norm(flat[i] - flat[j]) ** 2
    f = (N - 3) // 2
    return int(np.argmin(np.sort(distances, axis=1)[:, 1 : N - f - 1].sum(1)))


def load_flower(path):
    """Loads Flower's functions, which need no more than numpy; its other modules need many packages."""
    for name in ("flwr", "flwr.common", "flwr.server", "flwr.server.client_proxy"):
        module = sys.modules[name] = types.ModuleType(name)
        module.FitRes = module.ClientProxy = object
        module.NDArray = module.NDArrays = list
        module.parameters_to_ndarrays = None
    spec = importlib.util.spec_from_file_location("flower_aggregate", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def measure_flower(path):
    flower, updates = load_flower(path), [(client, k + 1) for k, client in enumerate(clients)]
    measure("Flower aggregate_trimmed_avg", lambda: flower.aggregate_trimmed_avg(updates, 0.2))
    if N > 10:
        return  # its krum takes minutes, its bulyan an hour
    chosen = measure("Flower aggregate_krum", lambda: flower.aggregate_krum(updates, (N - 3) // 2, 0))
    if not all(np.array_equal(their, own) for their, own in zip(chosen, read(FOLDER + "/krum.safetensors")[0])):
        sys.exit("Flower's krum and ours choose different clients")
    krum = flower.aggregate_krum
    theirs = measure("Flower aggregate_bulyan", lambda: flower.aggregate_bulyan(list(updates), (N - 3) // 4, krum, to_keep=0))
    # of clients nearly as far from each other, distances in float32 choose others
    ours = read(FOLDER + "/bulyan.safetensors")[0]
    same = np.mean([np.isclose(their, own, 1e-5, 1e-7).mean() for their, own in zip(theirs, ours)])
    results[-1]["note"] = f"{same:.1%} of the elements equal ours"


def torch_ties():
    # trim to a fifth of each update, elect signs by weighted sums, divide by the weights that agree
    merged = []
    for x, tensors in zip(tglobal, zip(*tclients)):
        kept = []
        for tensor in tensors:
            d = tensor.float() - x.float()
            k = max(1, int(0.2 * d.numel() + 1e-9))
            kept.append(d * (d.abs() >= d.abs().flatten().kthvalue(d.numel() - k + 1).values))
        d, w = torch.stack(kept), torch.tensor(shares).reshape(-1, *[1] * x.dim())
        agrees = torch.where((w * d).sum(0) < 0, d < 0, d > 0)
        total = (w * agrees).sum(0)
        u = (w * d * agrees).sum(0) / torch.where(total == 0, torch.ones_like(total), total)
        merged.append((x.float() + u).to(x.dtype))
    return merged


def torch_dare():
    merged = []
    for x, tensors in zip(tglobal, zip(*tclients)):
        u = torch.zeros(x.shape)
        for tensor, share in zip(tensors, shares):
            d = tensor.float() - x.float()
            u += share * d * torch.bernoulli(torch.full_like(d, 0.5)) / 0.5
        merged.append((x.float() + u).to(x.dtype))
    return merged


def torch_add():
    for acc, tensors in zip(accumulators, zip(*tclients)):
        acc.zero_()
        for x, w in zip(tensors, shares):
            acc.add_(x, alpha=float(w))


def torch_matmul():
    weights = torch.tensor(shares).to(tclients[0][0].dtype)
    return [(weights @ torch.stack(tensors).reshape(N, -1)).reshape(tensors[0].shape) for tensors in zip(*tclients)]


def norm(x, dim):
    # several times faster than Tensor.norm of torch 1.13
    return (x * x).sum(dim, keepdim=True).sqrt()


def torch_fedicu():
    out = []
    for previous, tensors in zip(tglobal, zip(*tclients)):
        theta, previous = torch.stack(tensors).float(), previous.float()
        magnitude, m_prev = norm(theta, 1), norm(previous, 0)
        direction, v_prev = theta / magnitude.clamp_min(EPS), previous / m_prev.clamp_min(EPS)
        flat = direction.reshape(N, -1)
        flat = flat / norm(flat, 1).clamp_min(EPS)
        s = ((flat * flat.sum(0)).sum(1) - 1) / (N - 1)  # not with @, whose float32 sums lose four digits
        w = torch.softmax(s / TAU, 0)
        m = m_prev + (magnitude - m_prev).mean(0)
        v = v_prev + (w[:, None, None] * (direction - v_prev)).sum(0)
        out.append((m * v / norm(v, 0).clamp_min(EPS)).to(tglobal[0].dtype))
    return out


FOLDER, OUT, SECONDS = sys.argv[1], sys.argv[2], float(sys.argv[3])
try:
    import numpy as np
except ImportError:
    sys.exit("python3-numpy is missing")
clients = [read(path)[0] for path in sorted(glob.glob(FOLDER + "/client-*.safetensors"))]
previous, kind = read(FOLDER + "/global.safetensors")
N = len(clients)
total = N * (N + 1) / 2
shares = [np.float32((k + 1) / total) for k in range(N)]
all_peers = os.path.exists(FOLDER + "/fedicu.safetensors")
if kind != "BF16":
    if all_peers:
        measure("numpy acc += x * w", numpy_loop)
        measure("numpy reduce(np.add)", numpy_reduce)
    theirs = measure("numpy median", numpy_median)
    if not all(np.array_equal(their, own) for their, own in zip(theirs, read(FOLDER + "/median.safetensors")[0])):
        sys.exit("numpy's median and ours differ")
    measure("numpy trimmed mean by np.sort", numpy_trimmed_mean)
    chosen = measure("numpy krum, a loop over pairs", numpy_krum)
    if not all(np.array_equal(their, own) for their, own in zip(clients[chosen], read(FOLDER + "/krum.safetensors")[0])):
        sys.exit("numpy's krum and ours choose different clients")
    if os.environ.get("FEDICU_FLOWER"):
        measure_flower(os.environ["FEDICU_FLOWER"])
try:
    import torch
except ImportError:
    results.append({"name": "torch", "milliseconds": [], "note": "python3-torch is missing"})
else:
    torch.set_num_threads(os.cpu_count())

    def tensors_of(arrays):
        tensors = [torch.from_numpy(array) for array in arrays]
        return [tensor.view(torch.bfloat16) for tensor in tensors] if kind == "BF16" else tensors

    tclients, tglobal = [tensors_of(client) for client in clients], tensors_of(previous)
    measure("torch median", torch_median)
    measure("torch ties", torch_ties)
    measure("torch dare", torch_dare)
    if all_peers:
        accumulators = [torch.zeros(tensor.shape) for tensor in tglobal]
        measure("torch add_", torch_add)
        measure("torch stack and matmul", torch_matmul)
        theirs = measure("torch FedICU", torch_fedicu)
        ours = [tensor.float() for tensor in tensors_of(read(FOLDER + "/fedicu.safetensors")[0])]
        # relative to each tensor's largest magnitude
        error = max(float((their.float() - own).abs().max() / own.abs().max()) for their, own in zip(theirs, ours))
        if error > (1e-5 if kind == "F32" else 2 ** -7):
            sys.exit(f"torch's FedICU and ours differ by {error:.1e}")
        results[-1]["note"] = f"differs from ours by {error:.1e}"
with open(OUT, "w") as file:
    json.dump(results, file)
