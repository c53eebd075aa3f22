"""Creates and reads models of random finite bf16 values for the scripts in this folder; needs no packages.

files.py sharded FOLDER CLIENTS SHARDS TENSORS ROWS COLUMNS
    Creates FOLDER/global and FOLDER/c0000 ...
files.py adapters FOLDER DISTINCT CLIENTS
    Creates adapters of 4 MB: factors of rank 4 for two maps in 32 layers. All but DISTINCT of them are hard links.
files.py forget FOLDER
    Drops all files of the folder from the page cache.
files.py read FOLDER...
    Reads all files, two at a time, in pieces of 1 MiB, and drops the pages after reading. Prints GB/s, the disk's ceiling.
files.py reread FOLDER...
    Reads all files twice and drops no pages. Prints the GB/s of the second pass, the ceiling of files in memory.
"""
import json
import os
import random
import struct
import sys
import threading
import time

# maps any byte to the upper byte of a bf16 with a magnitude of about 2^-7 to 2^2
FINITE = bytes((b & 0x80) | 0x3C | (b & 3) for b in range(256))


def values(count):
    data = bytearray(os.urandom(count))
    data[1::2] = bytes(data[1::2]).translate(FINITE)
    return data


def write(path, tensors, metadata, block):
    header, at = {"__metadata__": metadata}, 0
    for name, shape in tensors:
        size = 2 * shape[0] * shape[1]
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    with open(path, "wb", buffering=0) as file:
        file.write(struct.pack("<Q", len(text)) + text)
        while at > 0:
            piece = min(at, 8 << 20, len(block) // 2)
            start = 2 * random.randrange((len(block) - piece) // 2 + 1)
            file.write(memoryview(block)[start:start + piece])
            at -= piece


def sharded(folder, clients, shards, tensors, rows, columns):
    for client in range(-1, clients):
        where = os.path.join(folder, "global" if client < 0 else f"c{client:04d}")
        os.makedirs(where)
        block, weight_map = values(64 << 20), {}
        for shard in range(shards):
            name = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
            content = [(f"layers.{shard}.{t}.weight", [rows, columns]) for t in range(tensors)]
            weight_map.update((tensor, name) for tensor, _ in content)
            write(os.path.join(where, name), content, {"num_examples": str(100 + client)}, block)
        with open(os.path.join(where, "model.safetensors.index.json"), "w") as file:
            json.dump({"metadata": {"total_size": shards * tensors * 2 * rows * columns}, "weight_map": weight_map}, file)


def adapters(folder, distinct, clients):
    os.makedirs(folder)
    tensors = [(f"base_model.model.model.layers.{layer}.self_attn.{m}_proj.lora_{f}.weight", shape)
               for layer in range(32) for m in "qv" for f, shape in (("A", [4, 4096]), ("B", [4096, 4]))]
    for d in range(-1, distinct):
        name = "global.safetensors" if d < 0 else f"{d}.distinct"
        write(os.path.join(folder, name), tensors, {"num_examples": str(100 + d)}, values(16 << 20))
    for client in range(clients):
        os.link(os.path.join(folder, f"{client % distinct}.distinct"), os.path.join(folder, f"c{client:05d}.safetensors"))


def files(*folders):
    return sorted(os.path.join(at, name) for folder in folders for at, _, names in os.walk(folder) for name in names)


def forget(folder):
    for path in files(folder):
        file = os.open(path, os.O_RDONLY)
        os.fdatasync(file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)


def speed(folders, drop):
    todo, lock, done = iter(files(*folders)), threading.Lock(), []

    def work():
        piece = bytearray(1 << 20)
        while True:
            with lock:
                path = next(todo, None)
            if path is None:
                return
            file, at = os.open(path, os.O_RDONLY), 0
            while (got := os.preadv(file, [piece], at)) > 0:
                at += got
                if drop:
                    os.posix_fadvise(file, max(at - (5 << 20), 0), 5 << 20, os.POSIX_FADV_DONTNEED)
            done.append(at)
            os.close(file)

    start, threads = time.time(), [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done) / (time.time() - start) / 1e9


def read(*folders):
    print(f"{speed(folders, True):.2f}")


def reread(*folders):
    speed(folders, False)
    print(f"{speed(folders, False):.2f}")


globals()[sys.argv[1]](*(int(text) if text.isdigit() else text for text in sys.argv[2:]))
