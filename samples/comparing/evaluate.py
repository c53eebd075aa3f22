"""Evaluates a model on examples that no client has, and prints its accuracy and its loss as JSON."""

import json
import math
import sys

import model

weights = model.read(sys.argv[1])
data = list(model.examples(seed=7, count=1000))
right = sum((model.probability(weights, features) > 0.5) == (label == 1) for features, label in data)
loss = -sum(math.log(max(1e-12, p if label else 1 - p)) for (features, label) in data
            for p in [model.probability(weights, features)]) / len(data)
print(json.dumps({"accuracy": right / len(data), "loss": loss}))
