"""The C interface (fedicu.h) by ctypes, of the shared library or, where there is none, of the assembly loaded through hostfxr."""

from __future__ import annotations

import ctypes
import json
import os
import pathlib
import shutil
import sys
from typing import Any, Callable

ABI_VERSION = 1
COPY, BORROW, DELTA = 0, 1, 2
UNREADABLE, WEIGHT = 1, 2


class FedIcuError(Exception):
    """What the library refuses, in its own sentence."""


class InvalidArgumentError(FedIcuError, ValueError):
    """A call is wrong: a global model that cannot be read, a client added twice, a place for a result missing."""


class InvalidOptionsError(FedIcuError, ValueError):
    """A strategy, setting or value is unknown."""


class InvalidModelError(FedIcuError, ValueError):
    """A model's file or tensors are not as they should be."""


class RoundRejectedError(FedIcuError):
    """The policies refuse the round, as a client's update is at fault; the old model stays."""


class WrongStateError(FedIcuError, RuntimeError):
    """A call came before the one that it needs."""


class AbortedError(FedIcuError):
    """The round was aborted."""


_ERRORS: dict[int, type[Exception]] = {
    1: InvalidArgumentError,
    2: InvalidOptionsError,
    3: InvalidModelError,
    4: RoundRejectedError,
    5: WrongStateError,
    6: OSError,
    7: MemoryError,
    8: AbortedError,
    9: InvalidArgumentError,
}


class Tensor(ctypes.Structure):
    """fedicu_tensor."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("dtype", ctypes.c_char_p),
        ("rank", ctypes.c_int32),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("data", ctypes.c_void_p),
        ("nbytes", ctypes.c_uint64),
    ]


_text, _handle, _count = ctypes.c_char_p, ctypes.c_int64, ctypes.c_int64
_tensors, _out = ctypes.POINTER(Tensor), ctypes.POINTER(ctypes.c_int64)
_sized = [ctypes.c_void_p, ctypes.c_uint64, ctypes.POINTER(ctypes.c_uint64)]
_SIGNATURES: dict[str, list[Any]] = {
    "create": [_text, _out],
    "destroy": [_handle],
    "begin_round": [_handle, ctypes.c_int64],
    "set_global": [_handle, _count, _tensors, ctypes.c_uint32],
    "set_global_file": [_handle, _text],
    "add": [_handle, _text, ctypes.c_double, _count, _tensors, ctypes.c_uint32],
    "add_file": [_handle, _text, ctypes.c_double, _text],
    "add_update": [_handle, _text, ctypes.c_double, _text, _count, _tensors, ctypes.c_uint32],
    "add_fault": [_handle, _text, ctypes.c_int32, _text],
    "finish": [_handle, _count, _tensors],
    "finish_file": [_handle, _text],
    "abort": [_handle],
    "report_json": [_handle, *_sized],
    "export_state": [_handle, *_sized],
    "import_state": [_handle, _text],
    "mask": [_text, _count, _tensors, _tensors, _tensors, _tensors, _out],
    "update_count": [_handle, _out],
    "update_tensor": [_handle, ctypes.c_int64, _tensors],
    "update_metadata_json": [_handle, *_sized],
    "update_save": [_handle, _text],
    "update_destroy": [_handle],
    "proximal": [ctypes.c_double, _tensors, _tensors, _tensors, ctypes.POINTER(ctypes.c_double)],
}


class Library:
    """The functions; a status other than 0 becomes an exception with the library's sentence."""

    def __init__(self, find: Callable[[str, Any, list[Any]], Any], place: str) -> None:
        self.place = place
        self._abi_version = find("abi_version", ctypes.c_int32, [])
        self._last_error = find("last_error", ctypes.c_char_p, [])
        self.live_handles = find("live_handles", ctypes.c_int64, [])
        if (found := self._abi_version()) != ABI_VERSION:
            raise ImportError(f"{place} has version {found} of the C interface; {ABI_VERSION} was expected.")
        self._functions = {name: find(name, ctypes.c_int32, arguments) for name, arguments in _SIGNATURES.items()}

    def call(self, name: str, *arguments: Any) -> None:
        status = self._functions[name](*arguments)
        if status != 0:
            raise _ERRORS.get(status, FedIcuError)(self._last_error().decode())

    def text(self, name: str, handle: int) -> str:
        length = ctypes.c_uint64()
        self.call(name, handle, None, 0, ctypes.byref(length))
        buffer = ctypes.create_string_buffer(length.value)
        self.call(name, handle, buffer, length.value, ctypes.byref(length))
        return buffer.value.decode()

    def new(self, name: str, *arguments: Any) -> int:
        handle = ctypes.c_int64()
        self.call(name, *arguments, ctypes.byref(handle))
        return handle.value


def _shared(path: pathlib.Path) -> Library:
    if path.suffix == ".dll" and sys.platform != "win32":
        raise ImportError(f"{path} has no {path.with_suffix('.runtimeconfig.json').name} beside it, with which .NET loads it; 'dotnet build' leaves both in artifacts/bin/FedICU.Interop/release.")
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise ImportError(f"{path} is no library that can be loaded here: {error}.") from error

    def find(name: str, result: Any, arguments: list[Any]) -> Any:
        function = getattr(library, f"fedicu_{name}")
        function.restype, function.argtypes = result, arguments
        return function

    return Library(find, str(path))


def _managed(path: pathlib.Path) -> Library:
    """Starts .NET in this process and takes the functions of the assembly."""
    text = ctypes.c_wchar_p if sys.platform == "win32" else ctypes.c_char_p
    encode: Callable[[str], Any] = (lambda value: value) if sys.platform == "win32" else str.encode
    hostfxr = ctypes.CDLL(str(_hostfxr()))
    initialize = hostfxr.hostfxr_initialize_for_runtime_config
    initialize.argtypes = [text, ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p)]
    get_delegate = hostfxr.hostfxr_get_runtime_delegate
    get_delegate.argtypes = [ctypes.c_void_p, ctypes.c_int32, ctypes.POINTER(ctypes.c_void_p)]
    hostfxr.hostfxr_close.argtypes = [ctypes.c_void_p]
    context, loader = ctypes.c_void_p(), ctypes.c_void_p()
    # 1 and 2: .NET runs in this process already
    status = initialize(encode(str(path.with_suffix(".runtimeconfig.json"))), None, ctypes.byref(context))
    if status not in (0, 1, 2):
        raise ImportError(f".NET could not be started for {path}: hostfxr says 0x{status & 0xFFFFFFFF:08X}.")
    load_assembly_and_get_function_pointer = 5
    status = get_delegate(context, load_assembly_and_get_function_pointer, ctypes.byref(loader))
    hostfxr.hostfxr_close(context)
    if status != 0:
        raise ImportError(f".NET could not be started for {path}: hostfxr says 0x{status & 0xFFFFFFFF:08X}.")
    load = ctypes.CFUNCTYPE(ctypes.c_int32, text, text, text, ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p))(loader.value)
    unmanaged_callers_only = ctypes.c_void_p(-1)

    def find(name: str, result: Any, arguments: list[Any]) -> Any:
        method = "".join(part.capitalize() for part in name.split("_"))
        function = ctypes.c_void_p()
        status = load(encode(str(path)), encode("FedICU.Interop.Exports, libfedicu"), encode(method), unmanaged_callers_only, None, ctypes.byref(function))
        if status != 0:
            raise ImportError(f"{path} has no function {method}: hostfxr says 0x{status & 0xFFFFFFFF:08X}.")
        return ctypes.CFUNCTYPE(result, *arguments)(function.value)

    return Library(find, str(path))


def _hostfxr() -> pathlib.Path:
    name = {"win32": "hostfxr.dll", "darwin": "libhostfxr.dylib"}.get(sys.platform, "libhostfxr.so")
    dotnet = shutil.which("dotnet")
    roots = [os.environ.get("DOTNET_ROOT"), dotnet and os.path.dirname(os.path.realpath(dotnet)), "/usr/share/dotnet", "/usr/lib/dotnet"]
    for root in filter(None, roots):
        found = sorted(pathlib.Path(root, "host", "fxr").glob(f"*/{name}"), key=lambda path: [int(part) for part in path.parent.name.split("-")[0].split(".")])
        if found:
            return found[-1]
    raise ImportError("No .NET runtime was found to load FedICU's assembly with; DOTNET_ROOT names one.")


def load() -> Library:
    """FEDICU_LIBRARY names a library (.so, .dylib, .dll of machine code) or an assembly (libfedicu.dll beside its runtimeconfig.json); otherwise what lies in the package."""
    named = os.environ.get("FEDICU_LIBRARY")
    here = pathlib.Path(__file__).resolve().parent
    suffix = {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")
    for path in [pathlib.Path(named)] if named else [here / f"libfedicu{suffix}", here / "libfedicu.dll"]:
        if path.exists():
            return _managed(path) if path.with_suffix(".runtimeconfig.json").exists() else _shared(path)
    raise ImportError(f"FedICU's library was not found{f' at {named}' if named else ''}; FEDICU_LIBRARY names one.")


def settings_json(**values: Any) -> bytes:
    return json.dumps({key: value for key, value in values.items() if value is not None}).encode()
