"""Flower's client side: the mod that sends only the important values."""

from __future__ import annotations

from typing import Any

from flwr.common import Array, ArrayRecord

from . import _npy
from ._flower_round import MASK, read_record
from ._native import InvalidArgumentError, WrongStateError
from ._tensors import Bits
from ._text import owned_by
from ._updates import NDArray
from ._wire import check_settings, is_packed, mask_and_pack

try:
    from flwr.app import MessageType
except ImportError:  # before Flower 1.21
    from flwr.common.constant import MessageType

# the record of the client's context that holds the momentum
_MOMENTUM = "fedicu.momentum"


class FedICUMod:
    """A client mod that sends the trained values that are more important than the received ones (``fedicu.mask``).

    It changes the training messages of both of Flower's APIs. The server's strategy must be :class:`FedICU` or
    :class:`LegacyFedICU`: they state "fedicu-mask" in each message's configuration. Without it the mod raises
    :class:`WrongStateError` before the app trains. In the list of mods, mods that change parameters must come after it.

    keep_momentum: whether earlier rounds count too, through a momentum in float32 that stays in the client's context
        ("fedicu.momentum").
    settings: threads, and the options of ``fedicu mask --set``: mask="top=0.1", importance="rank".
    """

    def __init__(self, *, keep_momentum: bool = False, **settings: Any) -> None:
        check_settings(settings, keep_momentum)
        self._keep_momentum, self._settings = keep_momentum, settings

    def __call__(self, message: Any, context: Any, call_next: Any) -> Any:
        if str(message.metadata.message_type).split(".")[0] != MessageType.TRAIN:
            return call_next(message, context)
        configs = list(message.content.config_records.values())
        if not any(config.get(MASK) for config in configs):
            raise WrongStateError(
                f"The server did not ask for masked updates: '{MASK}' is not in the message's configuration, so its strategy is not "
                "fedicu.flower.FedICU or LegacyFedICU, or it has accept_masks=False; change the strategy or remove FedICUMod.")
        # read before the app runs, since it may take the arrays out of the message
        received = _read_message(message)
        server_round = next((config["server-round"] for config in configs if "server-round" in config), None)
        reply = call_next(message, context)
        if reply.has_error():
            return reply
        trained = _read_message(reply)
        key = next(iter(reply.content.array_records))
        state = context.state.array_records
        has_momentum = self._keep_momentum and _MOMENTUM in state
        kept = {name: array.numpy() for name, array in state[_MOMENTUM].items()} if has_momentum else None
        packed, momentum = mask_and_pack(received, trained, kept, self._keep_momentum, server_round, self._settings)
        if self._keep_momentum:
            state[_MOMENTUM] = ArrayRecord({name: Array(array) for name, array in momentum.items()})
        reply.content.array_records[key] = ArrayRecord({name: to_flower(array) for name, array in packed.items()})
        return reply


def to_flower(array: NDArray | Bits) -> Any:
    """Returns Flower's Array. A packed one has bytes that only this package reads."""
    if isinstance(array, Bits):
        return _new_array(_npy.BFLOAT16, array.shape, _npy.save(array.array))
    if is_packed(array):
        return _new_array(str(array.dtype), array.shape, _npy.save_packed(array))
    return Array(array)


def _new_array(dtype: str, shape: tuple[int, ...], data: bytes) -> Any:
    try:
        return Array(dtype=dtype, shape=shape, stype=_npy.STYPE, data=data)
    except TypeError:  # before Flower 1.19, shapes are lists
        return Array(dtype=dtype, shape=list(shape), stype=_npy.STYPE, data=data)


def _read_message(message: Any) -> dict[str, NDArray | Bits]:
    records = message.content.array_records
    if len(records) != 1:
        raise InvalidArgumentError(f"The message has {len(records)} ArrayRecords; one, the model, was expected.")
    with owned_by("The message"):
        return read_record(next(iter(records.values())))
