"""Runs the job in NVFlare's simulator and measures its model; fails if it did not learn. It needs nvflare."""

import pathlib
import sys
import tempfile

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import job  # noqa: E402
from nvflare.recipe.sim_env import SimEnv  # noqa: E402

truth = np.linspace(-1, 1, 120, dtype=np.float32).reshape(30, 4)
learned = True
for strategy in ("fedicu", "fednova"):
    folder = tempfile.mkdtemp()
    job.new_recipe(strategy, rounds=3).execute(SimEnv(num_clients=job.CLIENTS, workspace_root=folder))
    [path] = pathlib.Path(folder).rglob("server.npy")
    error = float(np.abs(np.load(path) - truth).mean())
    print(f"sample: {strategy}: mean error of the weights {error:.3f}, at the start {np.abs(truth).mean():.3f}")
    learned = learned and error < 0.1
sys.exit(0 if learned else 1)
