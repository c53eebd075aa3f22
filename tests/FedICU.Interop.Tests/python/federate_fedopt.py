"""A DIFF result through the classes of NVFlare's ScatterAndGather with FedOpt, which needs torch. nvflare_sources.py runs it."""

import numpy as np
import torch
from nvflare.apis.dxo import DXO, DataKind, from_shareable
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_constant import ReservedKey
from nvflare.apis.fl_context import FLContext
from nvflare.app_common.abstract.model import make_model_learnable
from nvflare.app_common.app_constant import AppConstants
from nvflare.app_opt.pt.fedopt import PTFedOptModelShareableGenerator

from fedicu.nvflare import FedICUModelAggregator


class Engine:
    """Builds the optimizer that the generator asks for."""

    def build_component(self, config):
        return torch.optim.SGD(**config["args"])


model = torch.nn.Linear(4, 3)
received = {name: value.detach().numpy().copy() for name, value in model.state_dict().items()}
random = np.random.default_rng(1)
trained = [{name: value + random.standard_normal(value.shape).astype(np.float32) for name, value in received.items()} for _ in range(2)]

context = FLContext()
context.set_prop(ReservedKey.ENGINE, Engine(), private=True, sticky=False)
generator = PTFedOptModelShareableGenerator(source_model=model, optimizer_args={"path": "torch.optim.SGD", "args": {"lr": 0.5}})
generator.handle_event(EventType.START_RUN, context)
context.set_prop(AppConstants.GLOBAL_MODEL, make_model_learnable(received, {}), private=True, sticky=True)
aggregator = FedICUModelAggregator("fedavg", result="DIFF")
for k, params in enumerate(trained):
    result = DXO(DataKind.WEIGHTS, data=params, meta={"NUM_STEPS_CURRENT_ROUND": 1}).to_shareable()
    result.set_peer_props({ReservedKey.IDENTITY_NAME: f"site-{k}"})
    assert aggregator.accept(result, context)
made = aggregator.aggregate(context)
assert from_shareable(made).data_kind == DataKind.WEIGHT_DIFF
new = generator.shareable_to_learnable(made, context)["weights"]
for name, start in received.items():
    step = 0.5 * ((trained[0][name].astype(np.float64) + trained[1][name]) / 2 - start)
    np.testing.assert_allclose(new[name], start + step, rtol=1e-5, atol=1e-6)
print("fedicu: a DIFF result steps NVFlare's FedOpt")
