"""The task: digits of 8 x 8 pixels that are shifted and noisy. Each client sees mostly three of the ten digits."""

from __future__ import annotations

import numpy as np

CLIENTS, HIDDEN = 6, 32
# ten digits of 5 x 3 pixels, a row after the other
GLYPHS = [
    "111101101101111", "010110010010111", "111001111100111", "111001111001111", "101101111001001",
    "111100111001111", "111100111101111", "111001001001001", "111101111101111", "111101111001111",
]


def draw(labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Draws a digit for each label, at a random place and with noise. Returns one row of 64 pixels for each."""
    images = np.zeros((len(labels), 8, 8), np.float32)
    for image, label in zip(images, labels):
        y, x = random.integers(1, 3), random.integers(2, 4)
        image[y:y + 5, x:x + 3] = np.array([int(pixel) for pixel in GLYPHS[label]]).reshape(5, 3)
    return (images + 0.3 * random.standard_normal(images.shape, np.float32)).reshape(-1, 64)


def data_of(client: int) -> tuple[np.ndarray, np.ndarray]:
    """Makes a client's data: 600 images, of which four in five show its own three digits."""
    random = np.random.default_rng(client)
    own = random.choice(10, 3, replace=False)
    labels = np.where(random.random(600) < 0.8, random.choice(own, 600), random.integers(0, 10, 600))
    return draw(labels, random), labels


def test_data() -> tuple[np.ndarray, np.ndarray]:
    """Makes 2,000 images of all digits, which no client has."""
    random = np.random.default_rng(10_000)
    labels = random.integers(0, 10, 2000)
    return draw(labels, random), labels


def new_model() -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    return {
        "hidden.weight": (random.standard_normal((64, HIDDEN)) / 8).astype(np.float32), "hidden.bias": np.zeros(HIDDEN, np.float32),
        "out.weight": (random.standard_normal((HIDDEN, 10)) / 6).astype(np.float32), "out.bias": np.zeros(10, np.float32),
    }


def forward(model: dict[str, np.ndarray], x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the hidden layer and the probabilities of the ten digits."""
    hidden = np.maximum(x @ model["hidden.weight"] + model["hidden.bias"], 0)
    scores = hidden @ model["out.weight"] + model["out.bias"]
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    return hidden, odds / odds.sum(axis=1, keepdims=True)


def evaluate(model: dict[str, np.ndarray], x: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Returns the loss and the accuracy."""
    probabilities = forward(model, x)[1]
    return float(-np.log(probabilities[np.arange(len(x)), labels] + 1e-9).mean()), float((probabilities.argmax(axis=1) == labels).mean())


def train(model: dict[str, np.ndarray], x: np.ndarray, labels: np.ndarray, steps: int, seed: int) -> dict[str, np.ndarray]:
    """Trains by steps of 64 images. Returns the trained model."""
    model, random = {name: array.copy() for name, array in model.items()}, np.random.default_rng(seed)
    for _ in range(steps):
        chosen = random.integers(0, len(x), 64)
        hidden, error = forward(model, x[chosen])
        error[np.arange(64), labels[chosen]] -= 1
        error /= 64
        back = (error @ model["out.weight"].T) * (hidden > 0)
        for name, gradient in (
            ("out.weight", hidden.T @ error), ("out.bias", error.sum(axis=0)),
            ("hidden.weight", x[chosen].T @ back), ("hidden.bias", back.sum(axis=0)),
        ):
            model[name] -= np.float32(0.5) * gradient.astype(np.float32)
    return model
