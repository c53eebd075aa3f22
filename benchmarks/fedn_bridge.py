#!/usr/bin/python3
"""Measures a round of the FEDn bridge beside FEDn's own FedAvg from its sources, and the library's own round.

    /usr/bin/python3 benchmarks/fedn_bridge.py FEDN_SOURCES [REPETITIONS]

FEDN_SOURCES is a checkout of github.com/scaleoutsystems/fedn. Ten clients of 100 MB in ten tensors of float32: npz has
no bfloat16. The service and the tool are the Release builds of src/FedICU.Fedn and src/FedICU.Cli. Medians of the
repetitions after one that warms up."""
import importlib.util
import json
import logging
import os
import queue
import re
import statistics
import subprocess
import sys
import tempfile
import time
import types
from io import BytesIO

import grpc
import numpy as np

CLIENTS, TENSORS, ELEMENTS = 10, 10, 2_500_000
CHUNK = 1024 * 1024
PORT = 12097
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def examples(client):
    return client + 1


def write_models(folder, elements=ELEMENTS):
    """Writes each model as npz, as FEDn's helper does, and as safetensors for the library's own round."""
    for name in ["global", *map(str, range(CLIENTS))]:
        random = np.random.default_rng(sum(name.encode()))
        arrays = {str(i): random.standard_normal(elements, dtype=np.float32) for i in range(TENSORS)}
        np.savez(f"{folder}/{name}.npz", **arrays)
        size = 4 * elements
        header = {key: {"dtype": "F32", "shape": [elements], "data_offsets": [i * size, (i + 1) * size]} for i, key in enumerate(arrays)}
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        with open(f"{folder}/{name}.safetensors", "wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for array in arrays.values():
                file.write(array.tobytes())


def field(number, data):
    """Encodes a bytes field of a protobuf message."""
    length, value = b"", len(data)
    while value > 127:
        length, value = length + bytes([value & 127 | 128]), value >> 7
    return bytes([number << 3 | 2]) + length + bytes([value]) + data if data else b""


def decode(message):
    """Returns the content of a message's only field, which has the number 1."""
    if not message:
        return b""
    at, shift, length = 1, 0, 0
    while True:
        length |= (message[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if message[at - 1] < 128:
            return message[at : at + length]


class Service:
    """Makes the calls of FEDn's combiner, in its order."""

    def __init__(self, channel):
        def call(kind, method):
            return kind(f"/fedn.FunctionService/{method}", request_serializer=None, response_deserializer=None)

        self.begin = call(channel.unary_unary, "HandleProvidedFunctions")
        self.metadata = call(channel.unary_unary, "HandleMetadata")
        self.store = call(channel.stream_unary, "HandleStoreModel")
        self.aggregate = call(channel.unary_stream, "HandleAggregation")

    def send(self, name, model):
        def messages():
            while True:
                data = model.read(CHUNK)
                yield field(1, data) + field(2, name.encode())
                if not data:
                    return

        answer = decode(self.store(messages(), timeout=120))
        if answer.startswith(b"ERROR"):
            sys.exit(answer.decode())

    def round(self, models):
        start = time.perf_counter()
        self.begin(b"", timeout=120)
        self.send("global_model", BytesIO(models["global"]))
        for client in range(CLIENTS):
            text = json.dumps({"num_examples": examples(client)}).encode()
            self.metadata(field(1, text) + field(2, str(client).encode()), timeout=120)
            self.send(str(client), BytesIO(models[str(client)]))
        stored = time.perf_counter()
        result = BytesIO()
        for message in self.aggregate(field(1, b"aggregate"), timeout=600):
            result.write(decode(message))
        end = time.perf_counter()
        return stored - start, end - stored, result.getvalue()


def read_process(process, file, key):
    with open(f"/proc/{process}/{file}") as text:
        return int(re.search(rf"^{key}:\s+(\d+)", text.read(), re.MULTILINE).group(1))


def measure_service(folder, repetitions):
    models = {}
    for name in ["global", *map(str, range(CLIENTS))]:
        with open(f"{folder}/{name}.npz", "rb") as file:
            models[name] = file.read()
    service = subprocess.Popen(
        ["dotnet", f"{ROOT}/artifacts/bin/FedICU.Fedn/release/FedICU.Fedn.dll", "--FedIcu:Strategy=fedavg",
         f"--FedIcu:Spool={folder}/spool", f"--Kestrel:Endpoints:Fedn:Url=http://127.0.0.1:{PORT}"],
        stdout=subprocess.PIPE, text=True)
    try:
        channel = grpc.insecure_channel(f"127.0.0.1:{PORT}", options=[("grpc.max_receive_message_length", -1)])
        grpc.channel_ready_future(channel).result(timeout=60)
        bridge, rows = Service(channel), []
        for _ in range(repetitions + 1):
            before = [read_process(service.pid, "io", key) for key in ("rchar", "wchar")]
            store, aggregate, result = bridge.round(models)
            after = [read_process(service.pid, "io", key) for key in ("rchar", "wchar")]
            rows.append((store, aggregate, after[0] - before[0], after[1] - before[1]))
        peak = read_process(service.pid, "status", "VmHWM") * 1024
    finally:
        service.terminate()
        log = service.communicate()[0]
    inside = [float(seconds) for seconds in re.findall(r"clients in ([\d.]+) s", log)]
    return rows[1:], inside[1:], peak, result


def load_fedn(sources):
    """Loads FEDn's aggregator and helper; the modules that they import need many packages, and are not used here."""
    def stub(name, **content):
        module = sys.modules[name] = types.ModuleType(name)
        module.__dict__.update(content, __path__=[])

    def load(name):
        spec = importlib.util.spec_from_file_location(name, f"{sources}/{name.replace('.', '/')}.py")
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    for package in ("fedn", "fedn.common", "fedn.network", "fedn.network.grpc", "fedn.network.combiner",
                    "fedn.network.combiner.aggregators", "fedn.network.storage", "fedn.network.storage.models", "fedn.utils",
                    "fedn.utils.helpers", "fedn.utils.helpers.plugins"):
        stub(package)
    logger = logging.getLogger("fedn")
    logger.setLevel(logging.ERROR)
    stub("fedn.common.log_config", logger=logger)
    stub("fedn.network.combiner.updatehandler", UpdateHandler=object)
    stub("fedn.network.grpc.fedn_pb2")
    stub("fedn.network.grpc.fedn_pb2_grpc", ModelServiceServicer=object)
    stub("fedn.network.storage.models.tempmodelstorage", TempModelStorage=object)
    load("fedn.utils.helpers.helperbase")
    load("fedn.network.combiner.aggregators.aggregatorbase")
    return (load("fedn.network.combiner.aggregators.fedavg").Aggregator, load("fedn.utils.helpers.plugins.numpyhelper").Helper,
            load("fedn.network.combiner.modelservice").load_model_from_bytes)


def run_fedn(sources, folder, repetitions):
    """The child process: FEDn's FedAvg over updates that the combiner has in memory."""
    aggregator, helper, load_model = load_fedn(sources)
    models = []
    for client in range(CLIENTS):
        with open(f"{folder}/{client}.npz", "rb") as file:
            models.append(BytesIO(file.read()))

    class Updates:
        model_updates = queue.Queue()

        def next_model_update(self):
            return self.model_updates.get()

        def load_model_update(self, update, helper):
            return load_model(models[update.model_update_id].getbuffer(), helper), {"num_examples": examples(update.model_update_id)}

    updates, times = Updates(), []
    held = read_process("self", "status", "VmHWM") * 1024
    for _ in range(repetitions + 1):
        for client in range(CLIENTS):
            updates.model_updates.put(types.SimpleNamespace(model_update_id=client))
        start = time.perf_counter()
        model, _ = aggregator(updates).combine_models(helper(), delete_models=False)
        times.append(time.perf_counter() - start)
    np.savez(f"{folder}/theirs.npz", **{str(i): array for i, array in enumerate(model)})
    print(json.dumps({"times": times[1:], "held": held, "peak": read_process("self", "status", "VmHWM") * 1024}))


def measure_library(folder, repetitions):
    """The tool over safetensors files, less the time of the same command over small models: the process's start."""
    def run(folder):
        command = ["dotnet", f"{ROOT}/artifacts/bin/FedICU.Cli/release/fedicu.dll", "aggregate", "--strategy", "fedavg",
                   "--global", f"{folder}/global.safetensors", "--output", f"{folder}/ours.safetensors",
                   "--weights", ",".join(str(examples(client)) for client in range(CLIENTS))]
        for client in range(CLIENTS):
            command += ["--client", f"{folder}/{client}.safetensors"]
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - start

    with tempfile.TemporaryDirectory() as small:
        write_models(small, 1000)
        return [run(folder) - run(small) for _ in range(repetitions + 1)][1:]


def main(sources, repetitions):
    with tempfile.TemporaryDirectory() as folder:
        write_models(folder)
        library = measure_library(folder, repetitions)
        rows, inside, peak, result = measure_service(folder, repetitions)
        child = subprocess.run([sys.executable, __file__, "--fedn", sources, folder, str(repetitions)], check=True, capture_output=True)
        theirs = json.loads(child.stdout)
        ours, other = np.load(BytesIO(result)), np.load(f"{folder}/theirs.npz")
        difference = max(np.abs(ours[key] - other[key]).max() for key in ours.files)
        store, aggregate, read, written = (statistics.median(column) for column in zip(*rows))
        print(f"library, files to file: {statistics.median(library):.3f} s")
        print(f"service, store 11 models: {store:.2f} s; aggregate, pack and send: {aggregate:.2f} s; "
              f"of it aggregate and pack: {statistics.median(inside):.2f} s")
        print(f"service, a round: {statistics.median(row[0] + row[1] for row in rows):.2f} s")
        print(f"service, a round's system calls read {read / 1e6:.0f} MB and wrote {written / 1e6:.0f} MB; peak {peak / 1e6:.0f} MB")
        print(f"FEDn, combine_models: {statistics.median(theirs['times']):.2f} s; "
              f"peak {theirs['peak'] / 1e6:.0f} MB, of which {theirs['held'] / 1e6:.0f} MB before it")
        print(f"largest difference of the two models: {difference:.1e}")


if __name__ == "__main__":
    if sys.argv[1] == "--fedn":
        run_fedn(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5)
