"""A federation in one process: passes Flower's messages between a ServerApp and ClientApps without a network or Ray."""

from flwr.app import Context, RecordDict
from flwr.serverapp import Grid


class LocalGrid(Grid):
    """The nodes 0, 1, ... of one client app.

    app: the ClientApp.
    node_configs: each node's configuration.
    run_config: the run's.
    """

    def __init__(self, app, node_configs, run_config=None):
        self.app = app
        self.contexts = {
            k: Context(run_id=1, node_id=k, node_config=config, state=RecordDict(), run_config=run_config or {})
            for k, config in enumerate(node_configs)}
        # the bytes of the arrays that clients sent, and all replies
        self.uploaded, self.seen = 0, []

    def get_node_ids(self):
        return list(self.contexts)

    def send_and_receive(self, messages, *, timeout=None):
        replies = []
        for message in messages:
            message.metadata.__dict__["_run_id"] = 1
            reply = self.app(message, self.contexts[message.metadata.dst_node_id])
            self.uploaded += sum(len(array.data) for record in reply.content.array_records.values() for array in record.values())
            replies.append(reply)
        self.seen.append(replies)
        return replies

    run = property(lambda self: None)

    def _refuse(self, *arguments, **named):
        raise NotImplementedError("A local grid only sends and receives.")

    set_run = create_message = push_messages = pull_messages = _refuse
