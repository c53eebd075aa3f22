"""Lets Flower's sources be imported without packages that a federation in one process does not need.

Importing this module puts empty stand-ins in the place of those that are not installed. Needed are numpy, grpcio and
protobuf.
"""

import enum
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
import unittest.mock

# the command line, health checks, iterators, encryption of secure aggregation, the SuperLink's database
PACKAGES = {
    "typer", "click", "rich", "iterators", "grpc_health", "Crypto", "sqlalchemy", "alembic", "tomli", "tomli_w", "pathspec", "requests",
    "psutil", "yaml",
}


class _StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the packages that no other finder has found."""

    used: set[str] = set()

    def find_spec(self, name, path, target=None):
        top = name.partition(".")[0]
        if top not in PACKAGES:
            return None
        self.used.add(top)
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        module = unittest.mock.MagicMock(name=spec.name)
        module.__path__, module.__spec__, module.__name__ = [], spec, spec.name
        return module

    def exec_module(self, module):
        pass


def _install():
    sys.meta_path.append(_StandIns())
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
