"""LoRA adapters in memory: cutting one to a rank, and reading one that the library has made."""

from __future__ import annotations

import json
import numbers
from typing import Mapping

from . import _native
from ._native import InvalidArgumentError
from ._tensors import Borrowed, copy_model, like
from ._text import InvalidInput, describe_type, encode_config, owned_by
from ._updates import Adapter, Tensors


def adapt(adapter: Adapter, rank: int, *, lora_scaling: float | None = None, threads: int = 0) -> Adapter:
    """Cuts an adapter to a rank: each pair of factors becomes the best one of that rank for its own product.

    A pair of that rank or a smaller one keeps its rank. A server sends each client the rank that it can train.

    rank: at least 1.
    lora_scaling: the scaling alpha / r of an adapter without a configuration.
    threads: the number of compute threads; 0 means one per CPU.

    Returns the new adapter, whose adapter_config states the rank.
    """
    if not isinstance(adapter, Adapter):
        raise InvalidArgumentError(f"The adapter is {describe_type(adapter)}; a fedicu.Adapter was expected.")
    native = _native.library()
    with owned_by("The adapter"):
        own, config = split_adapter(adapter)
        tensors = Borrowed(own)
    whole = int(rank) if isinstance(rank, numbers.Integral) else rank
    options = _native.options_json(rank=whole, loraScaling=lora_scaling, threads=threads)
    return take_adapter(native, native.new("adapt", options, config, tensors.count, tensors.array), adapter)


def split_adapter(model: Tensors | Adapter) -> tuple[Tensors, bytes | None]:
    """Returns a model's tensors, and an adapter's configuration for the C interface; None if it has none."""
    if not isinstance(model, Adapter):
        return model, None
    if not isinstance(model.tensors, Mapping):
        raise InvalidInput(f"its tensors are {describe_type(model.tensors)}; a dict was expected.")
    return model.tensors, None if model.adapter_config is None else encode_config(model.adapter_config)


def take_adapter(native: _native.Library, handle: int, source: Adapter) -> Adapter:
    """Copies an adapter of the library and frees the handle. The tensors are of the same kind as the source's."""
    try:
        arrays, dtypes = copy_model(native, handle)
        config = native.text("update_config_json", handle)
    finally:
        native.call("update_destroy", handle)
    tensors = {name: like(source.tensors[name], array, dtypes[name]) for name, array in arrays.items()}
    return Adapter(tensors, json.loads(config) if config else None)
