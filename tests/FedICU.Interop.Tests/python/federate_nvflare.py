"""Runs the jobs of docs/plugging-in/nvflare.md in NVFlare's simulator, and compares their models with the library's rounds.

nvflare_sources.py runs it.
"""

import os
import pathlib
import sys
import tempfile

import numpy as np

import fedicu

page = (pathlib.Path(__file__).resolve().parents[3] / "docs" / "plugging-in" / "nvflare.md").read_text()
recipe, client, filtered, job = (block.split("```")[0] for block in page.split("```python\n")[1:5])
right = True
masks = {"mask": "top=0.25"}
for name, source, settings in (("recipe", recipe, None), ("recipe and filter", filtered, masks), ("workflow and filter", job, masks)):
    folder = pathlib.Path(tempfile.mkdtemp())
    os.chdir(folder)
    (folder / "client.py").write_text(client)
    exec(source, {})
    received, plain = {"numpy_key": np.zeros((30, 20), np.float32)}, fedicu.Aggregator("fedicu", tau=0.5)
    for server_round in range(3):
        updates = []
        for site in ("site-1", "site-2"):
            random = np.random.default_rng([server_round, *site.encode()])
            trained = {key: value + random.standard_normal(value.shape, value.dtype) for key, value in received.items()}
            updates.append((site, 100, trained if settings is None else fedicu.mask(received, trained, round=server_round, **settings)))
        received = plain.aggregate(received, updates, round=server_round)
    made = [np.load(path) for path in folder.rglob("server.npy")]
    equal = [np.array_equal(model, received["numpy_key"]) for model in made]
    print(f"fedicu: {name}: {len(made)} models; one equals the library's bit for bit: {any(equal)}")
    right = right and any(equal)
sys.exit(0 if right else 1)
