"""Lets the sources of Flower and NVFlare be imported without packages that a federation on one machine does not need.

Importing this module puts empty stand-ins in the place of those that are not installed. Needed are numpy, grpcio and
protobuf, for NVFlare msgpack, filelock, cryptography, psutil and pyyaml too.
"""

import enum
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
import unittest.mock

# Flower: the command line, health checks, iterators, encryption of secure aggregation, the SuperLink's database.
# NVFlare: drivers over HTTP, files in HOCON, torch tensors on the wire, the check of certificate chains.
MODULES = {
    "typer", "click", "rich", "iterators", "grpc_health", "Crypto", "sqlalchemy", "alembic", "tomli", "tomli_w", "pathspec", "requests",
    "aiohttp", "pyhocon", "docker", "safetensors", "cryptography.x509.verification",
}


class _StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the packages that no other finder has found."""

    used: set[str] = set()

    def find_spec(self, name, path, target=None):
        found = next((module for module in MODULES if name == module or name.startswith(module + ".")), None)
        if found is None:
            return None
        self.used.add(found)
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        module = unittest.mock.MagicMock(name=spec.name)
        module.__path__, module.__spec__, module.__name__ = [], spec, spec.name
        return module

    def exec_module(self, module):
        pass


class _BaseModel:
    """pydantic's BaseModel without its checks of types: values by name, the class's defaults, and its last validators."""

    model_config: dict = {}

    def __init__(self, **values):
        vars(self).update(values)
        for name in dir(type(self)):
            if getattr(getattr(type(self), name), "_is_last", False):
                getattr(self, name)()


def _mark_validator(mode):
    def mark(function):
        function._is_last = mode == "after"
        return function

    return mark


def _install():
    sys.meta_path.append(_StandIns())
    if importlib.util.find_spec("pydantic") is None:
        pydantic = types.ModuleType("pydantic")
        pydantic.BaseModel, pydantic.ConfigDict, pydantic.ValidationError = _BaseModel, dict, ValueError
        pydantic.PositiveInt, pydantic.PositiveFloat = int, float
        pydantic.conint = pydantic.confloat = pydantic.constr = lambda **limits: object
        pydantic.Field = lambda default=None, **more: default
        pydantic.field_validator, pydantic.model_validator = lambda *names, **more: lambda function: function, _mark_validator
        sys.modules["pydantic"] = pydantic
        _StandIns.used.add("pydantic")
    # newer code that protobuf generated asks an older protobuf for its version
    if importlib.util.find_spec("google.protobuf.runtime_version") is None:
        version = types.ModuleType("google.protobuf.runtime_version")
        version.Domain = enum.Enum("Domain", ["PUBLIC", "GOOGLE_INTERNAL"])
        version.ValidateProtobufRuntimeVersion = lambda *arguments: None
        import google.protobuf

        sys.modules[version.__name__] = google.protobuf.runtime_version = version
        _StandIns.used.add(version.__name__)
    # and refuses an older grpcio, which no message of one process reaches
    import grpc._utilities

    if not hasattr(grpc._utilities, "first_version_is_lower"):
        grpc._utilities.first_version_is_lower = lambda *versions: False
        _StandIns.used.add("grpc._utilities.first_version_is_lower")


def used():
    """Returns the names of the packages that stand-ins replace."""
    return sorted(_StandIns.used)


_install()
