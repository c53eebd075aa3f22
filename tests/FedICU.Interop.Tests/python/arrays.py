"""Arrays for the tests, and the same values in other memory layouts."""

import numpy as np


def models(clients, seed=1, dtype=np.float32):
    random = np.random.default_rng(seed)
    return [{"w": random.standard_normal((30, 20)).astype(dtype), "b": random.standard_normal(7).astype(dtype)} for _ in range(clients + 1)]


def forms(array):
    """Returns the same values in other memory layouts, by name."""
    swapped = array.astype(array.dtype.newbyteorder("S"))
    shifted = np.frombuffer(b"\0" + array.tobytes(), np.uint8)[1:].view(array.dtype).reshape(array.shape) if array.size else array
    room = np.zeros(tuple(2 * length for length in array.shape), array.dtype)
    stepped = room[tuple(slice(None, None, 2) for _ in array.shape)] if array.ndim else room[...]
    stepped[...] = array
    turned = np.flip(np.flip(array).copy()) if array.ndim else array
    frozen = array.copy()
    frozen.flags.writeable = False
    made = {"unchanged": array, "swapped bytes": swapped, "unaligned": shifted, "read-only": frozen}
    if array.size > 1:
        made.update({"with gaps": stepped, "reversed": turned})
    if array.size > 1 and array.ndim > 1:
        made["by columns"] = np.asfortranarray(array)
    made["swapped bytes with gaps"] = made.get("with gaps", array).astype(swapped.dtype)
    return made
