"""The job: NVFlare's own recipe with FedICU.Core's aggregator. job.py [STRATEGY [ROUNDS]] runs it in the simulator."""

import pathlib
import sys

from nvflare.app_common.np.recipes.fedavg import NumpyFedAvgRecipe
from nvflare.recipe.sim_env import SimEnv

from fedicu.nvflare import FedICUModelAggregator

CLIENTS = 3
HERE = pathlib.Path(__file__).resolve().parent


def new_recipe(strategy: str, rounds: int) -> NumpyFedAvgRecipe:
    # the options of a strategy are further arguments: FedICUModelAggregator("fedadam", server_lr=0.05)
    aggregator = FedICUModelAggregator(strategy, on_nonfinite="drop-client", quorum=2)
    return NumpyFedAvgRecipe(
        name="fedicu", model=[[0.0] * 4] * 30, min_clients=CLIENTS, num_rounds=rounds, train_script=str(HERE / "client.py"),
        aggregator=aggregator)


if __name__ == "__main__":
    strategy = sys.argv[1] if len(sys.argv) > 1 else "fedicu"
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    run = new_recipe(strategy, rounds).execute(SimEnv(num_clients=CLIENTS))
    print("result:", run.get_result())
