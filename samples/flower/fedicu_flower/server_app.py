"""The server: the strategy of the run's configuration, by its name."""

from flwr.app import Array, ArrayRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp

from fedicu.flower import FedICU

from .task import CLIENTS, evaluate, new_model, test_data

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    x, labels = test_data()

    def evaluate_model(server_round: int, arrays: ArrayRecord) -> MetricRecord:
        loss, accuracy = evaluate({name: array.numpy() for name, array in arrays.items()}, x, labels)
        print(f"round {server_round}: loss {loss:.3f}, accuracy {accuracy:.3f}")
        return MetricRecord({"loss": loss, "accuracy": accuracy})

    # the options of a strategy are arguments too: FedICU(strategy="fedadam", server_lr=0.05, ...)
    strategy = FedICU(
        strategy=str(context.run_config["strategy"]), fraction_evaluate=0.0, min_train_nodes=CLIENTS, min_available_nodes=CLIENTS)
    strategy.start(
        grid, ArrayRecord({name: Array(array) for name, array in new_model().items()}),
        num_rounds=int(context.run_config["num-server-rounds"]), evaluate_fn=evaluate_model)
    print("shares:", {client["id"]: round(client["share"], 3) for client in strategy.aggregator.report["clients"]})
