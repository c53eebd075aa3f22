"""The faults that a client's update can have, and the ways in which an update can reach the library."""

import io
import types

import numpy as np

import standin_flower as flower
import standin_nvflare as nvflare

import fedicu
from fedicu.flower import FedICU, LegacyFedICU
from fedicu.nvflare import FedICUModelAggregator

POLICIES = ("on_nonfinite", "on_missing", "on_extra", "on_shape", "on_dtype", "on_base", "on_unreadable", "on_weight", "on_quantized")
DROP = {policy: "drop-client" for policy in POLICIES}
# the index of the client at fault
FAULTY = 2


def arrays(seed):
    random = np.random.default_rng(seed)
    return {"w": random.standard_normal((6, 5)).astype(np.float32), "b": random.standard_normal(3).astype(np.float32)}


RECEIVED, TRAINED = arrays(99), [arrays(k) for k in range(5)]


def saved(array):
    return array if isinstance(array, (bytes, str)) else flower.saved(array)


def pickled():
    file = io.BytesIO()
    np.save(file, np.array([{}, None], dtype=object), allow_pickle=True)
    return file.getvalue()


def header(descr, shape, version=(1, 0)):
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY" + bytes(version) + len(text).to_bytes(2, "little") + text


GOOD = flower.saved(TRAINED[FAULTY]["w"])
UNREADABLE = {
    "no bytes": b"",
    "other bytes": b"PK\x03\x04 this is an archive",
    "only the magic": GOOD[:6],
    "half a header": GOOD[:60],
    "half the data": GOOD[:200],
    "one byte less": GOOD[:-1],
    "one byte more": GOOD + b"\0",
    "pickled": pickled(),
    "an unknown version": header("'<f4'", (6, 5), (9, 9)) + bytes(120),
    "a huge shape": header("'<f4'", (2**62, 2**62)) + bytes(120),
    "a negative shape": header("'<f4'", (-6, -5)) + bytes(120),
    "a shape of text": header("'<f4'", "'six'") + bytes(120),
    "a type of nothing": header("'<q9'", (6, 5)) + bytes(120),
    "a header of brackets": b"\x93NUMPY\x01\x00" + (9000).to_bytes(2, "little") + b"(" * 9000,
    "a header of signs": b"\x93NUMPY\x01\x00" + (9000).to_bytes(2, "little") + b"-" * 8999 + b"1",
    "text": "not bytes",
}
TYPES = {
    "text": np.array([["a"] * 5] * 6),
    "bytes": np.array([[b"ab"] * 5] * 6),
    "dates": np.zeros((6, 5), "M8[ns]"),
    "time spans": np.zeros((6, 5), "m8[s]"),
    "complex": np.zeros((6, 5), np.complex128),
    "long double": np.zeros((6, 5), np.longdouble),
    "records": np.zeros((6, 5), [("x", "<f4"), ("y", "<i4")]),
    "raw bytes": np.zeros((6, 5), "V2"),
    "integers": np.zeros((6, 5), np.int32),
    "booleans": np.zeros((6, 5), bool),
}
# values that cannot be serialized
OBJECTS = {
    "objects": np.array([[None] * 5] * 6),
    "none": None,
    "a dict": {"x": 1},
    "ragged": [[1.0], [1.0, 2.0]],
    "a list of numbers": [[0.0] * 5] * 6,
    "a tuple of numbers": ((0.0,) * 5,) * 6,
    "a set": {1.0},
    "a word": "w",
    "masked": np.ma.masked_array(np.zeros((6, 5), np.float32), np.eye(6, 5)),
}
ARRAYS = {
    "shape": np.zeros((5, 6), np.float32),
    "rank": np.zeros(30, np.float32),
    "scalar": np.float32(1),
    "nan": np.full((6, 5), np.nan, np.float32),
}
WEIGHTS = {
    "negative": -5,
    "nan": float("nan"),
    "inf": float("inf"),
    "-inf": float("-inf"),
    "text": "12",
    "a boolean": True,
    "400 digits": 10**400,
    "5000 digits": 10**5000,
    "a list": [3],
    "numpy's nan": np.float32("nan"),
    "complex": 1j,
    "a dict": {},
}


def replaced(**tensors):
    return {**TRAINED[FAULTY], **tensors}


class Plain:
    """fedicu.Aggregator itself."""

    def __init__(self, **settings):
        self.aggregator = fedicu.Aggregator("fedavg", **settings)

    def run(self, replies):
        return self.aggregator.aggregate(RECEIVED, [(f"c{client}", weight, model) for client, weight, model in replies])


class Messages:
    """Flower's message API."""

    def __init__(self, **settings):
        self.strategy = FedICU(aggregator=fedicu.Aggregator("fedavg", **settings), train_metrics_aggr_fn=self.mean)
        self.aggregator = self.strategy.aggregator

    def mean(self, contents, key):
        # in the place of Flower's weighted mean: remembers the losses and adds the weights
        records = [next(iter(content.metric_records.values())) for content in contents]
        self.metrics = sorted(record["loss"] for record in records)
        return {"examples": sum(record[key] for record in records)}

    def reply(self, client, weight, model):
        made = flower.reply(f"c{client}", {}, weight)
        made.content.array_records["arrays"].update({name: self.array(value) for name, value in model.items()})
        metrics = made.content.metric_records["metrics"]
        metrics["loss"] = client
        if weight is None:
            del metrics["num-examples"]
        return made

    @staticmethod
    def array(value):
        if isinstance(value, flower.Array):
            return value
        if isinstance(value, (bytes, str)):
            made = flower.Array(TRAINED[FAULTY]["w"])
            made.data = value
            return made
        return flower.Array(np.asarray(value))

    def run(self, replies):
        self.strategy.configure_train(1, flower.record(RECEIVED), {}, None)
        made, metrics = self.strategy.aggregate_train(1, [self.reply(*reply) for reply in replies])
        self.assert_counts(metrics)
        return flower.loaded(made)

    def assert_counts(self, metrics):
        weights = [client["weight"] for client in self.aggregator.report["clients"] if client["included"]]
        assert metrics["fedicu-included"] == len(weights) == len(self.metrics)
        assert metrics["examples"] == sum(weights)


class Numbered(Messages):
    """Flower's older API."""

    def __init__(self, **settings):
        self.strategy = LegacyFedICU(aggregator=fedicu.Aggregator("fedavg", **settings))
        self.strategy.fit_metrics_aggregation_fn = self.older_mean
        self.aggregator = self.strategy.aggregator

    def older_mean(self, metrics):
        self.metrics = sorted(one["loss"] for _, one in metrics)
        return {"examples": sum(weight for weight, _ in metrics)}

    def run(self, replies):
        names = list(RECEIVED)
        self.strategy.configure_fit(1, flower.Parameters([saved(RECEIVED[name]) for name in names], "numpy.ndarray"), None)
        results = []
        for client, weight, model in replies:
            values = [model[name] for name in [*names, *sorted(set(model) - set(names))] if name in model]
            tensors = [value.data if isinstance(value, flower.Array) else saved(value) for value in values]
            parameters = flower.Parameters(tensors, "numpy.ndarray")
            result = types.SimpleNamespace(num_examples=weight, metrics={"loss": client}, parameters=parameters)
            results.append((types.SimpleNamespace(cid=f"c{client}"), result))
        parameters, metrics = self.strategy.aggregate_fit(1, results, [])
        self.assert_counts(metrics)
        return {name: np.load(io.BytesIO(data)) for name, data in zip(names, parameters.tensors)}


class Models:
    """NVFlare's FLModels."""

    def __init__(self, **settings):
        self.nvflare = FedICUModelAggregator("fedavg", settings)
        self.nvflare.received = RECEIVED
        self.aggregator = self.nvflare.aggregator

    def run(self, replies):
        for client, weight, model in replies:
            meta = {"client_name": f"c{client}", "NUM_STEPS_CURRENT_ROUND": weight}
            self.nvflare.accept_model(nvflare.FLModel(nvflare.ParamsType.FULL, model, {"loss": client}, 1, meta))
        try:
            made = self.nvflare.aggregate_model()
        finally:
            self.nvflare.reset_stats()
        self.metrics = made.metrics
        return made.params


class Shareables(Models):
    """NVFlare's ScatterAndGather, in which the peer's name counts and not the one in the result."""

    def run(self, replies):
        context = nvflare.Context(global_model={"weights": RECEIVED})
        for client, weight, model in replies:
            meta = {"client_name": "c0", "NUM_STEPS_CURRENT_ROUND": weight}
            sent = nvflare.FLModel(nvflare.ParamsType.FULL, model, {"loss": client}, 1, meta)
            sent.get_peer_prop = lambda key, default, name=f"c{client}": name
            self.nvflare.accept(sent, context)
        try:
            return self.nvflare.aggregate_model().params
        finally:
            self.nvflare.reset_stats()


MEMORY, FLOWER, NVFLARE = (Plain, Models, Shareables), (Messages, Numbered), (Models, Shareables)


def faults():
    """Yields each fault: its name, its policy, the ways in which it can occur, and the client's weight and model."""
    model = TRAINED[FAULTY]
    for what, data in UNREADABLE.items():
        yield what, "on_unreadable", FLOWER, 3, replaced(w=data)
    for what, array in TYPES.items():
        yield what, "on_dtype", MEMORY + FLOWER, 3, replaced(w=array)
    for what, value in OBJECTS.items():
        yield what, ("on_dtype" if what == "objects" else "on_unreadable"), MEMORY, 3, replaced(w=value)
    for what, array in ARRAYS.items():
        yield what, ("on_nonfinite" if what == "nan" else "on_shape"), MEMORY + FLOWER, 3, replaced(w=array)
    for what, weight in WEIGHTS.items():
        yield f"weight {what}", "on_weight", MEMORY + FLOWER, weight, model
    # NVFlare's clients without a weight weigh 1
    yield "no weight", "on_weight", (Plain,) + FLOWER, None, model
    yield "missing", "on_missing", MEMORY + FLOWER, 3, {"w": model["w"]}
    yield "extra", "on_extra", MEMORY + FLOWER, 3, replaced(z=model["b"])
    yield "an extra of an unknown type", "on_extra", MEMORY, 3, replaced(z=np.array(["a"]))
    codes = {"q.weight": np.zeros(15, np.uint8), "q.weight.absmax": np.ones(1, np.float32)}
    yield "quantized", "on_quantized", MEMORY + (Messages,), 3, replaced(**codes)
    for what, name in {"a number": 1, "a zero": "w\0", "no Unicode": "\ud800"}.items():
        yield f"name {what}", "on_unreadable", MEMORY, 3, replaced(**{}) | {name: model["w"]}
    for what, wrong in {
        "a list": [1], "nothing": None, "a number": 5, "no file": "nowhere.safetensors", "a zero in a path": "w\0",
        "no Unicode": "\udc80",
    }.items():
        yield f"model {what}", "on_unreadable", MEMORY, 3, wrong
    yield "marked as unreadable", "on_unreadable", (Plain,), 3, fedicu.Unreadable("its archive is broken.")
    update = fedicu.mask(RECEIVED, model, mask="top=0.5")
    other = fedicu.mask(model, RECEIVED, mask="top=0.5")
    yield "another base", "on_base", (Plain,), 3, other
    for what, broken in {
        "of a number": {**update.metadata, "fedicu.base": 3},
        "of none": {**update.metadata, "fedicu.base": None},
        "without Unicode": {**update.metadata, "x": "\ud800"},
        "of an unknown kind": {**update.metadata, "fedicu.update": "half"},
        "without a shape": {"fedicu.update": "sparse", "fedicu.base": update.metadata["fedicu.base"]},
        "of a huge shape": {**update.metadata, "fedicu.shape.w": "[4611686018427387904]"},
        "that is a list": [1],
    }.items():
        yield f"metadata {what}", "on_unreadable", (Plain,), 3, fedicu.MaskedUpdate(update.tensors, update.dtypes, broken)
    for what, dtype in {"a wrong label": "F16", "a label of the same size": "I32"}.items():
        broken = fedicu.MaskedUpdate(update.tensors, {**update.dtypes, "w#values": dtype}, update.metadata)
        yield what, "on_unreadable", (Plain,), 3, broken
    for what, label in {
        "type": {"dtype": "float64"}, "kind": {"dtype": "int32"}, "width": {"dtype": "bfloat16"}, "unknown type": {"dtype": "f99"},
        "shape": {"shape": (5, 6)}, "serialization": {"stype": "torch"}, "byte order": {"dtype": ">f4"},
    }.items():
        array = flower.Array(model["w"])
        for key, value in label.items():
            setattr(array, key, value)
        yield f"label of another {what}", "on_unreadable", (Messages,), 3, replaced(w=array)
