"""What both of Flower's APIs share: the keys of messages, and the aggregation of a round."""

from __future__ import annotations

import json
import logging
from typing import Any, Callable, Iterable, Mapping, NamedTuple

from . import _npy
from ._aggregator import Aggregator
from ._native import InvalidArgumentError, WrongStateError
from ._tensors import Bits
from ._text import InvalidInput, describe_type, owned_by, show, show_error
from ._updates import STATEMENTS, Adapter, MaskedUpdate, NDArray, Unreadable, Update
from ._wire import included_clients, most_common_form, unpack

# the keys of a ConfigRecord: an adapter's configuration as JSON text, whether the server takes masked updates, and
# FedProx's mu
ADAPTER_CONFIG, MASK, PROXIMAL_MU = "adapter-config", "fedicu-mask", "proximal-mu"
# the keys of a client's metrics for what it states about its training
STATEMENT_KEYS = {name: name.replace("_", "-") for name in STATEMENTS}
log = logging.getLogger("fedicu.flower")


class Reply(NamedTuple):
    """A client's reply, opened: its weight, model, adapter's configuration and metrics."""

    weight: Any
    parameters: Any
    config: Mapping[str, Any] | None
    metrics: Mapping[str, Any]


class Missing:
    """The weight of a reply that states none. It shows as "missing" in messages."""

    def __repr__(self) -> str:
        return "missing"


class Aggregating:
    """What both strategies add to Flower's: the aggregator, and the model that the clients of a round received.

    strategy: one of :func:`fedicu.strategies`, or several joined by commas; None: "fedicu".
    settings: its options, and other arguments of :class:`fedicu.Aggregator`. Keyword arguments that are not those of
        Flower's strategy count as settings too.
    aggregator: an Aggregator or a strategy's name, in place of strategy and settings.
    accept_masks: whether clients may send masked updates, which :class:`FedICUMod` makes. It is told to the clients.
    statement_keys: other keys of the clients' metrics for local_steps, loss, staleness and normalizer.
    """

    # the configuration of the adapter that is aggregated; None if the model is none
    adapter_config: Mapping[str, Any] | None = None

    def __init__(
        self,
        *args: Any,
        strategy: str | None = None,
        settings: Mapping[str, Any] | None = None,
        aggregator: Aggregator | str | None = None,
        accept_masks: bool = True,
        statement_keys: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        more = {name: kwargs.pop(name) for name in list(kwargs) if name not in self._flowers_arguments()}
        super().__init__(*args, **kwargs)
        if not (aggregator is None or isinstance(aggregator, (str, Aggregator))):
            raise InvalidArgumentError(
                f"aggregator is {describe_type(aggregator)}; a fedicu.Aggregator or a strategy's name was expected.")
        if aggregator is not None and strategy is not None or isinstance(aggregator, Aggregator) and (settings or more):
            raise InvalidArgumentError("aggregator was given together with a strategy or its settings; one of them was expected.")
        unknown = set(statement_keys or {}) - set(STATEMENTS)
        if unknown:
            raise InvalidArgumentError(f"statement_keys has {show(min(unknown))}; the keys {', '.join(STATEMENTS)} were expected.")
        if not isinstance(aggregator, Aggregator):
            aggregator = Aggregator(strategy or aggregator or "fedicu", **{**(settings or {}), **more})
        self.aggregator = aggregator
        self.accept_masks = accept_masks
        self._statement_keys = {**STATEMENT_KEYS, **(statement_keys or {})}
        self._received: Any = None

    @classmethod
    def _flowers_arguments(cls) -> set[str]:
        """Returns the names of the arguments that Flower's strategy takes."""
        raise NotImplementedError

    def _round_config(self) -> dict[str, Any]:
        """Returns what the clients of a round are told, beside what Flower tells them."""
        config: dict[str, Any] = {MASK: int(self.accept_masks)}
        if (mu := self.aggregator.proximal_mu) is not None:
            config[PROXIMAL_MU] = mu
        return config

    def _aggregate(
        self,
        server_round: int,
        step: str,
        read: Callable[[Any], Mapping[str, NDArray | Bits]],
        replies: Iterable[tuple[str, Callable[[], Reply]]],
    ) -> tuple[Mapping[str, NDArray | Bits], dict[str, bytes], set[str]]:
        """Aggregates a round.

        step: the name of the strategy's method that receives the clients' model, for an error.
        read: converts one of Flower's models to arrays.
        replies: the clients, each with a function that opens its reply.

        Returns the new model's arrays, the same as numpy saves them, and the clients that take part.
        """
        if self._received is None and self.aggregator.strategy != "fedavg":
            raise WrongStateError(f"The model that the clients trained is not known: {step} must be called first.")
        with owned_by("The global model"):
            model = {} if self._received is None else read(self._received)
        updates = [self._to_update(client, open_reply, read, model) for client, open_reply in replies]
        if self._received is None:
            model = most_common_form(update.model for update in sorted(updates, key=lambda update: update.client))
        if self.adapter_config is not None:
            # the ranks of the result may be others
            adapter = self.aggregator.aggregate(Adapter(model, self.adapter_config), updates, round=server_round)
            self.adapter_config = adapter.adapter_config
            saved = {name: _npy.save(array.array if isinstance(array, Bits) else array) for name, array in adapter.tensors.items()}
            return adapter.tensors, saved, included_clients(self.aggregator, log)
        # written in place: the result's arrays lie in the bytes that Flower sends
        outputs = {name: _npy.allocate(array.array if isinstance(array, Bits) else array) for name, array in model.items()}
        out = {name: Bits(array, "BF16") if isinstance(model[name], Bits) else array for name, (_, array) in outputs.items()}
        self.aggregator.aggregate(model, updates, round=server_round, out=out)
        return model, {name: data for name, (data, _) in outputs.items()}, included_clients(self.aggregator, log)

    def _to_update(
        self,
        client: str,
        open_reply: Callable[[], Reply],
        read: Callable[[Any], Mapping[str, NDArray | Bits]],
        model: Mapping[str, NDArray | Bits],
    ) -> Update:
        weight = None
        try:
            reply = open_reply()
            weight = reply.weight
            sent = unpack(read(reply.parameters), model)
            if isinstance(sent, MaskedUpdate) and not self.accept_masks:
                raise InvalidInput("it sent a masked update, but the strategy has accept_masks=False; the whole model was expected.")
            is_adapter = reply.config is not None and not isinstance(sent, MaskedUpdate)
            stated = {name: reply.metrics.get(key) for name, key in self._statement_keys.items()}
            return Update(client, weight, Adapter(sent, reply.config) if is_adapter else sent, **stated)  # type: ignore[arg-type]
        except InvalidInput as error:
            return Update(client, weight, Unreadable(str(error)))
        except Exception as error:  # a reply may hold anything; the round must go on without it
            return Update(client, weight, Unreadable(f"its reply cannot be read: {type(error).__name__}: {show_error(error)}."))


def config_of(records: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Returns the adapter's configuration in a message's ConfigRecords; None if it states none."""
    text = next((record[ADAPTER_CONFIG] for record in records if ADAPTER_CONFIG in record), None)
    if text is None:
        return None
    try:
        config = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"its {ADAPTER_CONFIG} is not JSON: {show_error(error)}.") from error
    if not isinstance(config, dict):
        raise InvalidInput(f"its {ADAPTER_CONFIG} is {show(text)}; a JSON object was expected.")
    return config


def counts(replies: int, included: set[str]) -> dict[str, int]:
    return {"fedicu-included": len(included), "fedicu-left-out": replies - len(included)}


def keep_common_metrics(contents: list[Any]) -> list[Any]:
    """Removes the clients' metrics that not all of them have in the same form, since they have no mean."""
    records = [next(iter(content.metric_records.values())) for content in contents]
    forms: list[set[Any]] = [
        {(name, len(value) if isinstance(value, list) else None) for name, value in record.items()} for record in records]
    odd = {name for name, _ in set().union(*forms) - set.intersection(*forms)}
    if odd:
        names = ", ".join(sorted(map(show, odd)))
        log.warning("These metrics are left out because not all clients have them in the same form: %s", names)
    for record in records:
        for name in odd & set(record):
            del record[name]
    return contents


def read_record(record: Mapping[str, Any]) -> dict[str, NDArray | Bits]:
    return {name: _npy.view_labelled(name, array) for name, array in record.items()}


def read_parameters(parameters: Any) -> dict[str, NDArray]:
    return {str(i): _npy.view(f"tensor '{i}'", parameters.tensor_type, data) for i, data in enumerate(parameters.tensors)}
