"""Runs the project without `flwr run`, in one process: run.py [STRATEGY]. It needs flwr, or its sources on the PYTHONPATH.

It runs the project twice, with whole and with masked updates, and fails if the accuracy does not rise.
"""

import pathlib
import sys
import tomllib

from flwr.app import Context, RecordDict

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from fedicu_flower import client_app, server_app, task  # noqa: E402
from local_grid import LocalGrid  # noqa: E402

stated = tomllib.loads((HERE / "pyproject.toml").read_text())["tool"]["flwr"]["app"]["config"]
accuracies = {}
evaluate = task.evaluate


def recorded(model, x, labels):
    loss, accuracy = evaluate(model, x, labels)
    accuracies[mask].append(accuracy)
    return loss, accuracy


server_app.evaluate = recorded
for mask in (False, True):
    accuracies[mask] = []
    config = {**stated, "mask": mask, "strategy": sys.argv[1] if len(sys.argv) > 1 else stated["strategy"]}
    grid = LocalGrid(client_app.app, [{"partition-id": k} for k in range(task.CLIENTS)], config)
    server_app.app(grid, Context(run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config=config))
    first, *_, last = accuracies[mask]
    kind = "masked" if mask else "whole"
    print(f"{config['strategy']}, {kind} updates: accuracy {first:.3f} to {last:.3f}, {grid.uploaded:,} bytes uploaded")
sys.exit(0 if all(made[-1] > made[0] + 0.3 for made in accuracies.values()) else 1)
