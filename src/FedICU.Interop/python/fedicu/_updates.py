"""What clients send."""

from __future__ import annotations

import dataclasses
import os
from typing import Any, Mapping, Union

import numpy as np

Tensors = Mapping[str, Any]
Model = Union[Tensors, str, "os.PathLike[str]"]


@dataclasses.dataclass(frozen=True)
class MaskedUpdate:
    """A client's sparse update.

    tensors: packed values and masks; bf16 as uint16.
    dtypes: the tensors' safetensors types.
    metadata: the metadata that belong to the tensors.
    momentum: the new momentum, which stays with the client.
    """

    tensors: Mapping[str, np.ndarray]
    dtypes: Mapping[str, str]
    metadata: Mapping[str, str]
    momentum: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False)


@dataclasses.dataclass(frozen=True)
class Adapter:
    """A LoRA adapter in memory. Ranks and alphas of clients may differ with the strategies flexlora, flora and hetlora.

    tensors: the factors, as in adapter_model.safetensors.
    adapter_config: the content of adapter_config.json, such as PEFT's ``config.to_dict()``. Of its fields r, lora_alpha,
        use_rslora, rank_pattern and alpha_pattern state ranks and scalings. None: the option lora_scaling states alpha / r
        for all adapters of a round.
    """

    tensors: Tensors
    adapter_config: Mapping[str, Any] | None = None


@dataclasses.dataclass(frozen=True)
class Unreadable:
    """Stands for a client's model that cannot be decoded, so that the policy on_unreadable applies.

    reason: the end of a sentence that begins with the client's name.
    """

    reason: str


@dataclasses.dataclass(frozen=True)
class Update:
    """One client's update. The round's policies apply to whatever is wrong with it.

    client: the client's name, unique in its round.
    weight: the number of its examples. None: from the metadata of a file or a masked update, otherwise 1.
    model: tensors, an adapter, a masked update, a path, or :class:`Unreadable`.
    delta: whether the tensors are y - x, the change by training, and not the parameters y. Files and masked updates
        state this themselves.
    """

    client: str
    weight: float | None
    model: Model | Adapter | MaskedUpdate | Unreadable
    delta: bool = False
