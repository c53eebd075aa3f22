"""Messages: values and errors shown in one short line, and text for the C interface."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import Any, Iterator, Mapping, NoReturn

from ._native import InvalidArgumentError

# characters; chosen
_LONGEST_VALUE, _LONGEST_ERROR = 60, 200


class InvalidInput(ValueError):
    """Why the library cannot read an input, as the end of a sentence that begins with its owner's name."""


@contextlib.contextmanager
def owned_by(owner: str) -> Iterator[None]:
    """Raises :class:`InvalidInput` as :class:`InvalidArgumentError` that begins with the owner.

    For models that do not belong to a client, so that no policy applies to them.
    """
    try:
        yield
    except InvalidInput as error:
        raise InvalidArgumentError(f"{owner}: {error}") from error


def show(value: Any, longest: int = _LONGEST_VALUE) -> str:
    """Formats any value for a message, shortened."""
    try:
        text = repr(value)
    except Exception:  # integers of thousands of digits, and objects of other libraries
        text = describe_type(value)
    return _shorten(text, longest)


def raise_missing(error: ModuleNotFoundError, package: str, needs: str) -> NoReturn:
    """Raises one sentence if another package is missing; the error itself if one of its modules is.

    package: the name that is imported.
    needs: who needs what, and how to install it.
    """
    if sys.modules.get(package) is None:
        raise ImportError(needs, name=package) from None
    raise error


def describe_type(value: Any) -> str:
    """Names a value's type with its article: "an int"."""
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def show_error(error: Exception) -> str:
    """Formats another library's error on one line, shortened."""
    return _shorten(" ".join(str(error).split()).rstrip("."), _LONGEST_ERROR)


def _shorten(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest // 2] + "..." + text[-longest // 2:]


def encode_text(text: Any, what: str) -> bytes:
    """Encodes text for the C interface."""
    if not isinstance(text, str):
        raise InvalidInput(f"{what} is {show(text)}; text was expected.")
    if "\0" in text:
        raise InvalidInput(f"{what} {show(text)} has a zero character; text without one was expected.")
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InvalidInput(f"{what} {show(text)} is not Unicode; text that UTF-8 can hold was expected.") from None


def encode_config(config: Any) -> bytes:
    """Encodes an adapter's configuration for the C interface. PEFT's have sets."""
    if not isinstance(config, Mapping):
        raise InvalidInput(f"its adapter_config is {describe_type(config)}; a dict was expected.")
    try:
        return json.dumps(dict(config), default=_as_list).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"its adapter_config cannot be written as JSON: {show_error(error)}.") from None


def _as_list(value: Any) -> list[Any]:
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=str)
    raise TypeError(f"{show(value)} is {describe_type(value)}")


def encode_path(path: str | os.PathLike[str]) -> bytes:
    """Encodes a path for the C interface."""
    return encode_text(os.fsdecode(path), "its path")
