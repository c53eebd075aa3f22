"""The federation of mixed_ranks.py in Flower: the server sends each node the rank that the node asks for."""

import json

import fedicu
from fedicu.flower import ADAPTER_CONFIG, FedICU
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from mixed_ranks import BASE, CONFIG, RANKS, loss, new_adapter, train

server, client = ServerApp(), ClientApp()


def record(adapter: fedicu.Adapter) -> ArrayRecord:
    return ArrayRecord({name: Array(array) for name, array in adapter.tensors.items()})


@server.main()
def main(grid: Grid, context: Context) -> None:
    nodes = list(grid.get_node_ids())
    questions = [Message(RecordDict(), message_type="query", dst_node_id=node) for node in nodes]
    ranks = {reply.metadata.src_node_id: reply.content["own"]["rank"] for reply in grid.send_and_receive(questions)}
    strategy = FedICU(
        fraction_train=1.0, fraction_evaluate=0.0, min_train_nodes=len(nodes), min_available_nodes=len(nodes),
        aggregator="flexlora", adapter_config=CONFIG, rank_of=ranks.__getitem__)
    result = strategy.start(grid, record(new_adapter()), num_rounds=5)
    print("rank", strategy.adapter_config["r"], [metrics["loss"] for metrics in result.train_metrics_clientapp.values()])


@client.query()
def answer(message: Message, context: Context) -> Message:
    return Message(RecordDict({"own": MetricRecord({"rank": RANKS[context.node_config["client"]]})}), reply_to=message)


@client.train()
def fit(message: Message, context: Context) -> Message:
    name = context.node_config["client"]  # flower-supernode --node-config 'client="phone"'
    arrays = {key: array.numpy() for key, array in message.content["arrays"].items()}
    received = fedicu.Adapter(arrays, json.loads(message.content["config"][ADAPTER_CONFIG]))
    trained = train(BASE, received, name)
    metrics = MetricRecord({"num-examples": 100, "loss": loss(BASE, trained, name)})
    return Message(RecordDict({"arrays": record(trained), "metrics": metrics}), reply_to=message)
