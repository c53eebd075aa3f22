"""Three clients of ranks 4, 8 and 16 train one LoRA adapter together. Needs numpy and fedicu."""

import functools

import numpy as np

import fedicu

OUTPUTS, INPUTS = 48, 64
A, B = "base_model.model.linear.lora_A.weight", "base_model.model.linear.lora_B.weight"
CONFIG = {"peft_type": "LORA", "r": 16, "lora_alpha": 16, "target_modules": ["linear"]}
RANKS = {"phone": 4, "laptop": 8, "workstation": 16}

_random = np.random.default_rng(1)
BASE = _random.standard_normal((OUTPUTS, INPUTS)).astype(np.float32)
# what the clients' data call for: another weight, which differs from the base model's by a matrix of rank 12
_change = _random.standard_normal((OUTPUTS, 12)) @ _random.standard_normal((12, INPUTS)) / 12


@functools.cache
def data_of(client):
    """Returns the client's inputs and labels. Each client has inputs of its own kind."""
    random = np.random.default_rng(list(client.encode()))
    x = random.standard_normal((100, INPUTS)) * random.uniform(0.3, 1.7, INPUTS)
    return x.astype(np.float32), (x @ (BASE + _change).T).astype(np.float32)


def new_adapter():
    """Returns an adapter of rank 16 whose product is 0."""
    a = np.random.default_rng(2).standard_normal((CONFIG["r"], INPUTS)) / np.sqrt(INPUTS)
    return fedicu.Adapter({A: a.astype(np.float32), B: np.zeros((OUTPUTS, CONFIG["r"]), np.float32)}, CONFIG)


def scaling(adapter):
    return adapter.adapter_config["lora_alpha"] / adapter.adapter_config["r"]


def product(adapter):
    return scaling(adapter) * adapter.tensors[B] @ adapter.tensors[A]


def loss(base, adapter, client):
    x, y = data_of(client)
    return float(((x @ (base + product(adapter)).T - y) ** 2).mean())


def train(base, adapter, client, steps=20, rate=0.03):
    """Trains both factors at the rank that the adapter has."""
    x, y = data_of(client)
    a, b, s = adapter.tensors[A].copy(), adapter.tensors[B].copy(), scaling(adapter)
    for _ in range(steps):
        error = (x @ (base + s * b @ a).T - y) / len(x)
        gradient = error.T @ x
        # without the gradients' factor s, so that adapters of all scalings learn at one speed
        a, b = a - rate * b.T @ gradient, b - rate * gradient @ a.T
    return fedicu.Adapter({A: a, B: b}, adapter.adapter_config)


def federate(strategy, after=None, rounds=5):
    """Returns the mean loss of the clients before the first round and after each, and the rank of each result."""
    base, adapter, aggregator = BASE, new_adapter(), fedicu.Aggregator(strategy)
    losses, ranks = [np.mean([loss(base, adapter, client) for client in RANKS])], []
    for number in range(1, rounds + 1):
        updates = []
        for client, rank in RANKS.items():
            received = fedicu.adapt(adapter, rank)  # the client's best approximation of the server's adapter
            updates.append((client, 100, train(base, received, client)))
        result = aggregator.aggregate(adapter, updates, round=number)
        ranks.append(result.adapter_config["r"])
        if after == "cut":
            adapter = fedicu.adapt(result, CONFIG["r"])
        elif after == "fuse":
            # the clients need the new base model for the next round
            base, adapter = base + product(result), new_adapter()
        else:
            adapter = result
        losses.append(np.mean([loss(base, adapter, client) for client in RANKS]))
    return losses, ranks


if __name__ == "__main__":
    for strategy, after in (("flexlora", None), ("flora", "cut"), ("flora", "fuse")):
        losses, ranks = federate(strategy, after)
        print(f"{strategy} {after or '':5}rank {ranks[-1]:2}, losses", *(f"{value:.3f}" for value in losses))
