"""What clients send."""

from __future__ import annotations

import dataclasses
import os
from typing import Any, Mapping, Union

import numpy as np

# numpy's arrays of any shape and type
NDArray = np.ndarray[Any, Any]
Tensors = Mapping[str, Any]
Model = Union[Tensors, str, "os.PathLike[str]"]


def describe_tensors(tensors: Any) -> str:
    """Describes the tensors of a repr: "2 tensors, 60 bytes"."""
    if not isinstance(tensors, Mapping):
        return repr(tensors)
    sizes = [getattr(value, "nbytes", None) for value in tensors.values()]
    known = [size for size in sizes if isinstance(size, int)]
    count = f"{len(tensors)} tensor{'' if len(tensors) == 1 else 's'}"
    return f"{count}, {sum(known):,} bytes" if len(known) == len(sizes) else count


@dataclasses.dataclass(frozen=True, repr=False)
class MaskedUpdate:
    """A client's sparse update.

    tensors: packed values and masks; bf16 as uint16.
    dtypes: the tensors' safetensors types.
    metadata: the metadata that belong to the tensors.
    momentum: the new momentum, which stays with the client.
    """

    tensors: Mapping[str, NDArray]
    dtypes: Mapping[str, str]
    metadata: Mapping[str, str]
    momentum: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __repr__(self) -> str:
        kept = ", with a momentum" if self.momentum else ""
        return f"MaskedUpdate({describe_tensors(self.tensors)}{kept})"


@dataclasses.dataclass(frozen=True, repr=False)
class Adapter:
    """A LoRA adapter in memory. Ranks and alphas of clients may differ with the strategies flexlora, flora and hetlora.

    tensors: the factors, as in adapter_model.safetensors.
    adapter_config: the content of adapter_config.json, such as PEFT's ``config.to_dict()``. Of its fields r, lora_alpha,
        use_rslora, rank_pattern and alpha_pattern state ranks and scalings. None: the option lora_scaling states alpha / r
        for all adapters of a round.
    """

    tensors: Tensors
    adapter_config: Mapping[str, Any] | None = None

    def __repr__(self) -> str:
        config = self.adapter_config if isinstance(self.adapter_config, Mapping) else {}
        stated = "".join(f", {key}={config[key]!r}" for key in ("r", "lora_alpha", "use_rslora") if key in config)
        return f"Adapter({describe_tensors(self.tensors)}{stated or ', without a configuration'})"


@dataclasses.dataclass(frozen=True)
class Unreadable:
    """Stands for a client's model that cannot be decoded, so that the policy on_unreadable applies.

    reason: the end of a sentence that begins with the client's name.
    """

    reason: str


# what a client may state beside its weight, by the keys of metadata
STATEMENTS = ("local_steps", "loss", "staleness", "normalizer")


@dataclasses.dataclass(frozen=True, repr=False)
class Update:
    """One client's update. The round's policies apply to whatever is wrong with it.

    The fields after delta are what a client states about its training. Some strategies need them, and the policy
    on_statement applies to one that is missing or out of range. None: from the metadata of a file or a masked update.

    client: the client's name, unique in its round.
    weight: the number of its examples. None: from the metadata of a file or a masked update; without it the client states
        none. If no client of a round states a weight, each weighs 1. If others do, the policy on_weight applies.
    model: tensors, an adapter, a masked update, a path, or :class:`Unreadable`.
    delta: whether the tensors are y - x, the change by training, and not the parameters y. Files and masked updates
        state this themselves.
    local_steps: the number of local training steps (fednova; scaffold with control="derived").
    loss: the client's loss at the received model (qfedavg).
    staleness: how many rounds the update is late (fedbuff).
    normalizer: FedNova's a_k, in place of local_steps.
    control: the change of the client's control variate (scaffold): a dict with the model's floating-point tensors, or the
        path of a safetensors file.
    """

    client: str
    weight: float | None
    model: Model | Adapter | MaskedUpdate | Unreadable
    delta: bool = False
    local_steps: float | None = dataclasses.field(default=None, kw_only=True)
    loss: float | None = dataclasses.field(default=None, kw_only=True)
    staleness: float | None = dataclasses.field(default=None, kw_only=True)
    normalizer: float | None = dataclasses.field(default=None, kw_only=True)
    control: Model | None = dataclasses.field(default=None, kw_only=True)

    def __repr__(self) -> str:
        stated = "".join(f", {key}={getattr(self, key)!r}" for key in STATEMENTS if getattr(self, key) is not None)
        kind = ", delta" if self.delta else ""
        return f"Update({self.client!r}, weight={self.weight!r}, {describe_tensors(self.model)}{kind}{stated})"
