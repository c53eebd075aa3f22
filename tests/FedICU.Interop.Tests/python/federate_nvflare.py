"""Runs the job of docs/plugging-in/nvflare.md in NVFlare's own simulator and compares it with the library's rounds.

Run by hand if nvflare can be imported.
"""

import os
import pathlib
import sys
import tempfile

import numpy as np

import fedicu

page = (pathlib.Path(__file__).resolve().parents[3] / "docs" / "plugging-in" / "nvflare.md").read_text()
job, client = (block.split("```")[0] for block in page.split("```python\n")[1:])
folder = pathlib.Path(tempfile.mkdtemp())
os.chdir(folder)
(folder / "client.py").write_text(client)
exec(job, {})

received, plain = {"numpy_key": np.zeros((30, 20), np.float32)}, fedicu.Aggregator("fedicu", tau=0.5)
for server_round in range(3):
    updates = []
    for site in ("site-1", "site-2"):
        random = np.random.default_rng([server_round, *site.encode()])
        trained = {name: value + random.standard_normal(value.shape, value.dtype) for name, value in received.items()}
        update = fedicu.mask(received, trained, round=server_round, mask="top=0.25")
        updates.append((site, 100, update))
    received = plain.aggregate(received, updates, round=server_round)
made = [np.load(path) for path in folder.rglob("server.npy")]
print(len(made), "models; the last equals the library's:", [np.array_equal(model, received["numpy_key"]) for model in made])
sys.exit(0 if made and any(np.array_equal(model, received["numpy_key"]) for model in made) else 1)
