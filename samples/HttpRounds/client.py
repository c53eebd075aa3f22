"""A client of samples/HttpRounds: downloads the global model, trains, uploads the result; round after round.

    python3 client.py init global.safetensors
    python3 client.py run --client clinic-a --token change-me-a --target 1
"""
import argparse
import json
import struct
import time
import urllib.error
import urllib.request

import numpy as np


def read(data):
    """Reads the F32 tensors of a safetensors file."""
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    tensors = {}
    for name, info in header.items():
        begin, end = (8 + length + offset for offset in info["data_offsets"])
        tensors[name] = np.frombuffer(data[begin:end], "<f4").reshape(info["shape"])
    return tensors


def write(tensors, metadata):
    """Writes F32 tensors as a safetensors file."""
    header, offset = {"__metadata__": metadata}, 0
    for name, values in tensors.items():
        end = offset + values.size * 4
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(values.astype("<f4").tobytes() for values in tensors.values())


def train(tensors, target):
    """Stands for the client's own training: one step towards its target."""
    return {name: values + np.float32(0.5) * (np.float32(target) - values) for name, values in tensors.items()}


def fetch(url):
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read()


def run(args):
    sent = 0
    while True:
        status = json.loads(fetch(f"{args.server}/status"))
        if status["finished"]:
            return
        number = status["round"]
        if number == sent or not status["open"]:
            time.sleep(args.poll)
            continue
        tensors = read(fetch(f"{args.server}/rounds/{number}/model"))
        update = write(train(tensors, args.target), {"fedicu.base": status["model"], "num_examples": str(args.examples)})
        request = urllib.request.Request(
            f"{args.server}/rounds/{number}/updates/{args.client}", update, method="PUT",
            headers={"Authorization": f"Bearer {args.token}", "Content-Type": "application/octet-stream"})
        try:
            with urllib.request.urlopen(request, timeout=600) as answer:
                print(answer.status, answer.read().decode(), flush=True)
        except urllib.error.HTTPError as refused:
            print(refused.code, json.load(refused)["detail"], flush=True)
            if refused.code not in (409, 410):
                raise SystemExit(1)
        sent = number


parser = argparse.ArgumentParser()
commands = parser.add_subparsers(dest="command", required=True)
init = commands.add_parser("init")
init.add_argument("path")
client = commands.add_parser("run")
client.add_argument("--server", default="http://127.0.0.1:5080")
client.add_argument("--client", required=True)
client.add_argument("--token", required=True)
client.add_argument("--target", type=float, default=1)
client.add_argument("--examples", type=int, default=100)
client.add_argument("--poll", type=float, default=0.5)
arguments = parser.parse_args()
if arguments.command == "init":
    with open(arguments.path, "wb") as file:
        file.write(write({"layer.weight": np.zeros((6, 5)), "layer.bias": np.zeros(6)}, {}))
else:
    run(arguments)
