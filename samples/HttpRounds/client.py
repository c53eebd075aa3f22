"""A client of samples/HttpRounds: downloads the global model, trains, uploads the result; round after round.

    python3 client.py init global.safetensors
    python3 client.py run --client clinic-a --token change-me-a --target 1
"""
import argparse
import http.client
import json
import struct
import sys
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


# seconds between two tries: the first wait and the longest one
FIRST_WAIT, LONGEST_WAIT = 0.25, 30


def ask(request, timeout, give_up):
    """Sends a request until the server answers it: it may be restarting, or ask for another try by a 503."""
    wait, end = FIRST_WAIT, time.monotonic() + give_up
    while True:
        stated = 0
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as refused:
            with refused:
                body = refused.read()
            if refused.code != 503:
                return refused.code, body
            why, text = "status 503", refused.headers.get("Retry-After", "")
            stated = int(text) if text.isdigit() else 0
        except (OSError, http.client.HTTPException) as failed:
            # URLError, a reset or broken connection, a timeout: the server may have stored the update already, and
            # answers the same bytes again with 200
            why = repr(failed)
        pause = min(max(wait, stated), LONGEST_WAIT)
        if time.monotonic() + pause > end:
            raise SystemExit(f"No answer from the server for {give_up} seconds: {why}")
        print(f"Trying again in {pause} seconds: {why}", file=sys.stderr, flush=True)
        time.sleep(pause)
        wait *= 2


def explain(body):
    """Returns the sentence of a problem document, or the text as it is."""
    try:
        return json.loads(body)["detail"]
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")


def run(args):
    # the round and its attempt: a round that was refused begins again with the same number
    sent = None
    while True:
        code, body = ask(f"{args.server}/status", 60, args.give_up)
        if code != 200:
            raise SystemExit(f"{code} {explain(body)}")
        status = json.loads(body)
        if status["finished"]:
            return
        number = status["round"]
        key = number, status["attempt"]
        if key == sent or not status["open"]:
            time.sleep(args.poll)
            continue
        code, model = ask(f"{args.server}/rounds/{number}/model", 600, args.give_up)
        if code != 200:
            # the round has ended meanwhile
            time.sleep(args.poll)
            continue
        tensors = read(model)
        update = write(train(tensors, args.target), {"fedicu.base": status["model"], "num_examples": str(args.examples)})
        request = urllib.request.Request(
            f"{args.server}/rounds/{number}/updates/{args.client}", update, method="PUT",
            headers={"Authorization": f"Bearer {args.token}", "Content-Type": "application/octet-stream"})
        code, body = ask(request, 600, args.give_up)
        print(code, body.decode() if code in (200, 201) else explain(body), flush=True)
        if code not in (200, 201, 409, 410):
            raise SystemExit(1)
        sent = key


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
client.add_argument("--give-up", type=float, default=600, help="seconds without an answer after which the client ends")
arguments = parser.parse_args()
if arguments.command == "init":
    with open(arguments.path, "wb") as file:
        file.write(write({"layer.weight": np.zeros((6, 5)), "layer.bias": np.zeros(6)}, {}))
else:
    run(arguments)
