"""A client: it fits a linear model to its own data, and states its steps and its loss."""

import numpy as np
import nvflare.client as flare

STEPS = 20

flare.init()
site = flare.get_site_name()
random = np.random.default_rng(list(site.encode()))
x = random.standard_normal((200, 30)).astype(np.float32)
y = x @ np.linspace(-1, 1, 120, dtype=np.float32).reshape(30, 4) + np.float32(0.1) * random.standard_normal((200, 4), np.float32)
while flare.is_running():
    model = flare.receive()
    w = np.asarray(model.params["numpy_key"], np.float32).copy()
    loss = float(((x @ w - y) ** 2).mean())
    print(f"{site}: round {model.current_round}: loss {loss:.4f}", flush=True)
    for _ in range(STEPS):
        w -= np.float32(0.05) * (x.T @ (x @ w - y) / len(x))
    # the strategy qfedavg reads the loss of the received model, fednova the steps
    meta = {"NUM_STEPS_CURRENT_ROUND": len(x), "local_steps": STEPS}
    flare.send(flare.FLModel(params={"numpy_key": w}, params_type="FULL", metrics={"loss": loss}, meta=meta))
