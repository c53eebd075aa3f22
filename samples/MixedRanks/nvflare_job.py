"""The federation of mixed_ranks.py in NVFlare's simulator."""

import pathlib

from fedicu.nvflare import FedICUModelAggregator
from nvflare.job_config.api import FedJob
from nvflare.job_config.script_runner import FrameworkType, ScriptRunner

from mixed_ranks import CONFIG, RANKS
from nvflare_workflow import MixedRanks

job = FedJob("mixed_ranks", min_clients=3)
job.to_server(MixedRanks(
    num_clients=3, num_rounds=5, persistor_id="", save_filename="adapter.npz",
    aggregator=FedICUModelAggregator("flexlora", adapter_config=CONFIG), ranks=RANKS))
for site in RANKS:
    job.to(ScriptRunner(str(pathlib.Path(__file__).with_name("nvflare_client.py")), framework=FrameworkType.NUMPY), site)
job.simulator_run("workspace")
