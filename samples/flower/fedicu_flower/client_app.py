"""A client: it trains, and sends a masked update if the run's configuration says so."""

from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from fedicu.flower import FedICUMod

from .task import data_of, evaluate, train

STEPS = 60
send_masked = FedICUMod(mask="top=0.25")


def mask_if_configured(message, context, call_next):
    """Sends the most important quarter of the entries, with `flwr run . --run-config mask=true`."""
    return send_masked(message, context, call_next) if context.run_config["mask"] else call_next(message, context)


app = ClientApp(mods=[mask_if_configured])


@app.train()
def train_model(message: Message, context: Context) -> Message:
    x, labels = data_of(int(context.node_config["partition-id"]))
    received = {name: array.numpy() for name, array in message.content["arrays"].items()}
    server_round = int(message.content["config"]["server-round"])
    trained = train(received, x, labels, STEPS, seed=server_round)
    # the strategy qfedavg reads "loss", the loss of the received model, and fednova "local-steps"
    metrics = MetricRecord({"num-examples": len(x), "loss": evaluate(received, x, labels)[0], "local-steps": STEPS})
    arrays = ArrayRecord({name: Array(array) for name, array in trained.items()})
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)
