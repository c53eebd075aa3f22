"""Makes a round in a folder: a global model, seven honest clients, and two that train on flipped labels."""

import os
import sys

import model

folder = sys.argv[1] if len(sys.argv) > 1 else "round"
os.makedirs(os.path.join(folder, "clients"), exist_ok=True)
start = model.train([0.0] * model.FEATURES, list(model.examples(seed=1, count=20)), epochs=1)
model.write(os.path.join(folder, "global.safetensors"), start)
for client in range(9):
    data = list(model.examples(seed=100 + client, count=60 + 20 * client, shift=0.5))
    if client >= 7:
        data = [(features, 1 - label) for features, label in data]
    model.write(os.path.join(folder, "clients", f"client-{client}.safetensors"), model.train(start, data), len(data))
