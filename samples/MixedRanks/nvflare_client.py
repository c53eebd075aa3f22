"""The federation of mixed_ranks.py in NVFlare: a client's script. Sites are named like the clients."""

import fedicu
import nvflare.client as flare

from mixed_ranks import BASE, loss, train

flare.init()
while flare.is_running():
    model = flare.receive()
    received = fedicu.Adapter(model.params, model.meta["adapter_config"])
    trained = train(BASE, received, flare.get_site_name())
    flare.send(flare.FLModel(
        params=trained.tensors, params_type="FULL", metrics={"loss": loss(BASE, trained, flare.get_site_name())},
        meta={"NUM_STEPS_CURRENT_ROUND": 100}))
