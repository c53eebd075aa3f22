"""FedICU.Core's federated-learning aggregators for Python.

>>> aggregator = fedicu.Aggregator("fedicu", tau=0.5)
>>> model = aggregator.aggregate(model, [("hospital", 120, update_a), ("law firm", 80, update_b)])
>>> aggregator.report["clients"][0]["share"]

A model is a dict of tensors or a path. The tensors of a dict are numpy arrays, torch tensors, or tensors of safetensors
files (:class:`FileTensor`). They are read in place, without a copy. A path names a safetensors file or folder, of which
only a small part is in memory at any time.
"""

from __future__ import annotations

import json
from typing import Any

from . import _native
from ._adapters import adapt
from ._aggregator import Aggregator
from ._client import mask, proximal
from ._native import (
    AbortedError,
    FedIcuError,
    InvalidArgumentError,
    InvalidModelError,
    InvalidOptionsError,
    RoundRejectedError,
    WrongStateError,
)
from ._tensors import FileTensor
from ._updates import Adapter, MaskedUpdate, Unreadable, Update
from ._version import read_version

__all__ = [
    "AbortedError", "Adapter", "Aggregator", "FedIcuError", "FileTensor", "InvalidArgumentError", "InvalidModelError",
    "InvalidOptionsError", "MaskedUpdate", "RoundRejectedError", "Unreadable", "Update", "WrongStateError", "adapt", "live_handles",
    "mask", "proximal", "round_options", "strategies",
]

__version__ = read_version()


def strategies() -> list[dict[str, Any]]:
    """Returns the strategies that :class:`Aggregator` knows: name, summary, paper, and options.

    Each option has a name, its values, its default and a summary. Every strategy also takes the :func:`round_options`.
    """
    known: list[dict[str, Any]] = json.loads(_native.library().text("strategies"))["strategies"]
    return known


def round_options() -> list[dict[str, str]]:
    """Returns the options that every round has, whatever its strategy."""
    known: list[dict[str, str]] = json.loads(_native.library().text("strategies"))["roundOptions"]
    return known


def live_handles() -> int:
    """Returns the number of aggregators and updates that the library holds. Tests use it to find leaks."""
    return int(_native.library().live_handles())
