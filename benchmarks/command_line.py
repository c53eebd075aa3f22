#!/usr/bin/python3
"""Measures the command line as whole processes, beside a loop of numpy; needs numpy.

command_line.py TOOL [FOLDER]

TOOL is the installed native tool (src/FedICU.Cli/pack-native.sh); the managed one is in the folder 'managed' beside it.
FOLDER, by default a temporary one, takes 1.2 GB of files. The commands run in turn, fifteen times for the small round and
nine times for the large one; the table shows medians in milliseconds.
"""
import json
import os
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time

import numpy as np

# both loops read, add and write in float32, as a server's script does; the second maps the files and reuses its memory
READ = """
import glob, json, struct, sys
import numpy as np
def load(path):
    with open(path, 'rb') as file:
        data = memoryview(file.read())
    length, = struct.unpack_from('<Q', data)
    header = json.loads(bytes(data[8:8 + length]))
    weight = float(header.pop('__metadata__')['num_examples'])
    return weight, header, {
        name: np.frombuffer(data[8 + length + info['data_offsets'][0]:8 + length + info['data_offsets'][1]], np.float32)
        for name, info in header.items()}
total, sums = 0, {}
for path in sorted(glob.glob(sys.argv[1] + '/clients/*')):
    weight, header, tensors = load(path)
    total += weight
    for name, tensor in tensors.items():
        term = tensor * np.float32(weight)
        sums[name] = sums[name] + term if name in sums else term
text = json.dumps(header).encode()
with open(sys.argv[2], 'wb') as file:
    file.write(struct.pack('<Q', len(text)) + text)
    for name in header:
        file.write((sums[name] / np.float32(total)).data)
"""
MAPPED = """
import glob, json, struct, sys
import numpy as np
def load(path):
    data = np.memmap(path, np.uint8, 'r')
    length, = struct.unpack('<Q', data[:8].tobytes())
    header = json.loads(data[8:8 + length].tobytes())
    weight = float(header.pop('__metadata__')['num_examples'])
    return weight, header, {name: data[8 + length + info['data_offsets'][0]:8 + length + info['data_offsets'][1]].view(np.float32)
                            for name, info in header.items()}
clients = [load(path) for path in sorted(glob.glob(sys.argv[1] + '/clients/*'))]
total = sum(client[0] for client in clients)
text = json.dumps(clients[0][1]).encode()
with open(sys.argv[2], 'wb') as file:
    file.write(struct.pack('<Q', len(text)) + text)
    for name in clients[0][1]:
        sum_, term = None, None
        for weight, _, tensors in clients:
            if sum_ is None:
                sum_ = tensors[name] * np.float32(weight / total)
                term = np.empty_like(sum_)
            else:
                np.multiply(tensors[name], np.float32(weight / total), out=term)
                sum_ += term
        file.write(sum_.data)
"""


def write(path, rows, seed, metadata):
    generator = np.random.default_rng(seed)
    # the data begin at a multiple of four bytes, so that numpy can map them
    header, tensors, at = {"__metadata__": metadata}, [], 0
    for i in range(10):
        tensors.append(generator.standard_normal((rows, 1000), dtype=np.float32) / 50)
        header[f"layer.{i}.weight"] = {"dtype": "F32", "shape": [rows, 1000], "data_offsets": [at, at + tensors[-1].nbytes]}
        at += tensors[-1].nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors:
            file.write(tensor.data)


def create(folder, rows):
    os.makedirs(f"{folder}/clients")
    write(f"{folder}/global.safetensors", rows, 99, {})
    for client in range(10):
        write(f"{folder}/clients/{client}.safetensors", rows, client, {"num_examples": str(100 + client)})


def measure(commands, runs):
    times = {name: [] for name in commands}
    for run in range(runs + 1):
        for name, command in commands.items():
            start = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            # the first run brings files and programs into memory
            if run > 0:
                times[name].append((time.perf_counter() - start) * 1000)
    return {name: statistics.median(values) for name, values in times.items()}


def main():
    tool = os.path.realpath(sys.argv[1])
    managed = os.path.join(os.path.dirname(tool), "managed", "fedicu")
    folder = sys.argv[2] if len(sys.argv) > 2 else tempfile.mkdtemp()
    try:
        print("| round | command | ms | times the native tool |\n|---|---|--:|--:|")
        for title, rows, runs in (("10 clients of 40 KB", 1, 15), ("10 clients of 100 MB", 2500, 9)):
            data = os.path.join(folder, str(rows))
            create(data, rows)
            round_ = ["aggregate", "--strategy", "fedavg", "--global", f"{data}/global.safetensors", "--clients", f"{data}/clients"]
            medians = measure(
                {
                    "`fedicu`, native": [tool, *round_, "--output", f"{data}/native.safetensors"],
                    "`fedicu`, managed": [managed, *round_, "--output", f"{data}/managed.safetensors"],
                    "a loop of numpy over files that are read": [sys.executable, "-c", READ, data, f"{data}/read.safetensors"],
                    "a loop of numpy over mapped files": [sys.executable, "-c", MAPPED, data, f"{data}/mapped.safetensors"],
                },
                runs)
            for name, median in medians.items():
                print(f"| {title} | {name} | {median:.0f} | {median / medians['`fedicu`, native']:.1f} |")
    finally:
        if len(sys.argv) <= 2:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
