"""The mod alone, in a client app of Flower's own code, for versions whose strategies are too old. flower_versions.py runs it."""

import numpy as np
from flwr.client import ClientApp
from flwr.common import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict

import fedicu
from fedicu.flower import FedICUMod

received, trained = np.zeros((10, 10), np.float32), np.arange(100, dtype=np.float32).reshape(10, 10)
app = ClientApp(mods=[FedICUMod(mask="top=0.25", keep_momentum=True)])


@app.train()
def train(message: Message, context: Context) -> Message:
    arrays = ArrayRecord({"w": Array(trained)})
    return Message(RecordDict({"arrays": arrays, "metrics": MetricRecord({"num-examples": 1})}), reply_to=message)


def send(config):
    context = Context(run_id=1, node_id=1, node_config={}, state=RecordDict(), run_config={})
    content = RecordDict({"arrays": ArrayRecord({"w": Array(received)}), "config": ConfigRecord(config)})
    message = Message(content, message_type="train", dst_node_id=1)
    message.metadata.__dict__["_run_id"] = 1
    return app(message, context), context


reply, context = send({"fedicu-mask": 1, "server-round": 1})
packed = reply.content["arrays"]["w"]
assert len(packed.data) < 0.4 * trained.nbytes + 400, len(packed.data)
assert list(context.state.array_records) == ["fedicu.momentum"]
try:
    send({})
except fedicu.WrongStateError as raised:
    assert "did not ask for masked updates" in str(raised), raised
else:
    raise AssertionError("the mod masked without being asked")
try:
    packed.numpy()
except ValueError as raised:
    print(raised)
