"""The C interface (fedicu.h) through ctypes: of the shared library, or of the .NET assembly loaded through hostfxr."""

from __future__ import annotations

import ctypes
import json
import os
import pathlib
import shutil
import sys
import threading
from typing import Any, Callable

# FEDICU_ABI_VERSION
ABI_VERSION = 1
# FEDICU_BORROW, FEDICU_DELTA, FEDICU_UNWEIGHTED
BORROW, DELTA, UNWEIGHTED = 1, 2, 4
# FEDICU_FAULT_UNREADABLE, FEDICU_FAULT_WEIGHT
UNREADABLE, WEIGHT = 1, 2


class FedIcuError(Exception):
    """The library refuses a call. The message is the library's."""


class InvalidArgumentError(FedIcuError, ValueError):
    """An argument is wrong: a global model that cannot be read, a client added twice, a missing output tensor."""


class InvalidOptionsError(FedIcuError, ValueError):
    """A strategy, setting or value is unknown."""


class InvalidModelError(FedIcuError, ValueError):
    """A model's file or tensors are invalid."""


class RoundRejectedError(FedIcuError):
    """The policies refuse the round because of a client's update. The old model stays."""


class WrongStateError(FedIcuError, RuntimeError):
    """A call was made before another one that it needs."""


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
    "strategies": _sized,
    "create": [_text, _out],
    "destroy": [_handle],
    "begin_round": [_handle, ctypes.c_int64],
    "set_global": [_handle, _count, _tensors, ctypes.c_uint32],
    "set_global_adapter": [_handle, _text, _count, _tensors, ctypes.c_uint32],
    "set_global_file": [_handle, _text],
    "add": [_handle, _text, ctypes.c_double, _count, _tensors, ctypes.c_uint32],
    "add_adapter": [_handle, _text, ctypes.c_double, _text, _count, _tensors, ctypes.c_uint32],
    "add_file": [_handle, _text, ctypes.c_double, _text],
    "add_update": [_handle, _text, ctypes.c_double, _text, _count, _tensors, ctypes.c_uint32],
    "set_statements": [_handle, _text, _text],
    "set_control": [_handle, _text, _count, _tensors, ctypes.c_uint32],
    "add_fault": [_handle, _text, ctypes.c_int32, _text],
    "finish": [_handle, _count, _tensors],
    "finish_file": [_handle, _text],
    "finish_model": [_handle, _out],
    "abort": [_handle],
    "report_json": [_handle, *_sized],
    "export_state": [_handle, *_sized],
    "import_state": [_handle, _text],
    "mask": [_text, _count, _tensors, _tensors, _tensors, _tensors, _out],
    "adapt": [_text, _text, _count, _tensors, _out],
    "update_count": [_handle, _out],
    "update_tensor": [_handle, ctypes.c_int64, _tensors],
    "update_metadata_json": [_handle, *_sized],
    "update_config_json": [_handle, *_sized],
    "update_save": [_handle, _text],
    "update_destroy": [_handle],
    "proximal": [ctypes.c_double, _tensors, _tensors, _tensors, ctypes.POINTER(ctypes.c_double)],
}


class Library:
    """The functions of the C interface. A status other than 0 becomes an exception with the library's message."""

    def __init__(self, find: Callable[[str, Any, list[Any]], Any], path: str) -> None:
        self._abi_version = find("abi_version", ctypes.c_int32, [])
        self._last_error = find("last_error", ctypes.c_char_p, [])
        self.live_handles = find("live_handles", ctypes.c_int64, [])
        if (found := self._abi_version()) != ABI_VERSION:
            raise ImportError(f"{path} has version {found} of the C interface; {ABI_VERSION} was expected.")
        self._functions = {name: find(name, ctypes.c_int32, arguments) for name, arguments in _SIGNATURES.items()}

    def call(self, name: str, *arguments: Any) -> None:
        status = self._functions[name](*arguments)
        if status != 0:
            raise _ERRORS.get(status, FedIcuError)(self._last_error().decode())

    def text(self, name: str, *handle: int) -> str:
        """Calls a function that copies a text into a buffer."""
        length = ctypes.c_uint64()
        self.call(name, *handle, None, 0, ctypes.byref(length))
        buffer = ctypes.create_string_buffer(length.value)
        self.call(name, *handle, buffer, length.value, ctypes.byref(length))
        return buffer.value.decode()

    def new(self, name: str, *arguments: Any) -> int:
        """Calls a function that creates a handle."""
        handle = ctypes.c_int64()
        self.call(name, *arguments, ctypes.byref(handle))
        return handle.value


def _load_shared(path: pathlib.Path) -> Library:
    if path.suffix == ".dll" and sys.platform != "win32":
        raise ImportError(
            f"{path} has no {path.with_suffix('.runtimeconfig.json').name} beside it, which .NET needs to load it; "
            "'dotnet build' makes both in artifacts/bin/FedICU.Interop/release.")
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise ImportError(f"{path} cannot be loaded as a library here: {error}.") from error

    def find(name: str, result: Any, arguments: list[Any]) -> Any:
        function = getattr(library, f"fedicu_{name}")
        function.restype, function.argtypes = result, arguments
        return function

    return Library(find, str(path))


def _load_managed(path: pathlib.Path) -> Library:
    """Starts .NET in this process and loads the functions of the assembly."""
    text = ctypes.c_wchar_p if sys.platform == "win32" else ctypes.c_char_p

    def encode(value: str) -> Any:
        return value if sys.platform == "win32" else value.encode()

    hostfxr = ctypes.CDLL(str(_find_hostfxr()))
    initialize = hostfxr.hostfxr_initialize_for_runtime_config
    initialize.argtypes = [text, ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p)]
    get_delegate = hostfxr.hostfxr_get_runtime_delegate
    get_delegate.argtypes = [ctypes.c_void_p, ctypes.c_int32, ctypes.POINTER(ctypes.c_void_p)]
    hostfxr.hostfxr_close.argtypes = [ctypes.c_void_p]
    context, loader = ctypes.c_void_p(), ctypes.c_void_p()
    # 1 and 2 mean that .NET runs in this process already
    status = initialize(encode(str(path.with_suffix(".runtimeconfig.json"))), None, ctypes.byref(context))
    if status not in (0, 1, 2):
        raise ImportError(f".NET could not be started for {path}: hostfxr says 0x{status & 0xFFFFFFFF:08X}.")
    # hdt_load_assembly_and_get_function_pointer of coreclr_delegates.h
    load_assembly_and_get_function_pointer = 5
    status = get_delegate(context, load_assembly_and_get_function_pointer, ctypes.byref(loader))
    hostfxr.hostfxr_close(context)
    if status != 0:
        raise ImportError(f".NET could not be started for {path}: hostfxr says 0x{status & 0xFFFFFFFF:08X}.")
    load_type = ctypes.CFUNCTYPE(
        ctypes.c_int32, text, text, text, ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p))
    load = load_type(loader.value or 0)
    # UNMANAGEDCALLERSONLY_METHOD of coreclr_delegates.h
    unmanaged_callers_only = ctypes.c_void_p(-1)

    def find(name: str, result: Any, arguments: list[Any]) -> Any:
        method = "".join(part.capitalize() for part in name.split("_"))
        function = ctypes.c_void_p()
        status = load(
            encode(str(path)), encode("FedICU.Interop.Exports, libfedicu"), encode(method), unmanaged_callers_only, None,
            ctypes.byref(function))
        if status != 0:
            raise ImportError(f"{path} has no function {method}: hostfxr says 0x{status & 0xFFFFFFFF:08X}.")
        return ctypes.CFUNCTYPE(result, *arguments)(function.value or 0)

    return Library(find, str(path))


def _find_hostfxr() -> pathlib.Path:
    name = {"win32": "hostfxr.dll", "darwin": "libhostfxr.dylib"}.get(sys.platform, "libhostfxr.so")
    dotnet = shutil.which("dotnet")
    beside = dotnet and os.path.dirname(os.path.realpath(dotnet))

    def version(path: pathlib.Path) -> list[int]:
        return [int(part) for part in path.parent.name.split("-")[0].split(".")]

    for root in filter(None, [os.environ.get("DOTNET_ROOT"), beside, "/usr/share/dotnet", "/usr/lib/dotnet"]):
        found = sorted(pathlib.Path(root, "host", "fxr").glob(f"*/{name}"), key=version)
        if found:
            return found[-1]
    raise ImportError("No .NET runtime was found to load FedICU's assembly; set DOTNET_ROOT to one.")


_lock = threading.Lock()
_library: Library | None = None


def library() -> Library:
    """Returns the library, which is loaded at the first call."""
    global _library
    with _lock:
        _library = _library or _load()
        return _library


def _load() -> Library:
    """Loads the library that FEDICU_LIBRARY names, or the one in the package.

    It is a shared library (.so, .dylib, or .dll of machine code) or an assembly (libfedicu.dll beside its runtimeconfig.json).
    """
    named = os.environ.get("FEDICU_LIBRARY")
    here = pathlib.Path(__file__).resolve().parent
    suffix = {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")
    places = [pathlib.Path(named)] if named else [here / f"libfedicu{suffix}", here / "libfedicu.dll"]
    for path in places:
        if path.exists():
            return _load_managed(path) if path.with_suffix(".runtimeconfig.json").exists() else _load_shared(path)
    stated = "the environment variable FEDICU_LIBRARY names that path" if named else "the environment variable FEDICU_LIBRARY is not set"
    raise ImportError(
        f"FedICU's library was not found at {' or '.join(dict.fromkeys(map(str, places)))} ({stated}). Install the wheel that "
        "src/FedICU.Interop/python/wheel.sh of the repository builds, or build the library with 'dotnet publish src/FedICU.Interop "
        "-c Release -r linux-x64 -p:Aot=true -o build' and set FEDICU_LIBRARY to build/libfedicu.so.")


def options_json(**values: Any) -> bytes:
    """Makes a function's JSON options; those that are None are left out."""
    return json.dumps({key: value for key, value in values.items() if value is not None}).encode()
