"""The parts of the package's description that are computed: its version, and the platform of its library."""

import os
import pathlib
import re
import runpy
import sysconfig

from setuptools import Distribution, setup

try:
    from setuptools.command.bdist_wheel import bdist_wheel
except ImportError:  # before setuptools 70
    from wheel.bdist_wheel import bdist_wheel

PACKAGE = pathlib.Path(__file__).parent / "fedicu"
# the machine of a wheel's tag, by the architecture at the end of .NET's runtime identifier
MACHINES = {"x64": "x86_64", "arm64": "aarch64", "arm": "armv7l"}


def platform_of(rid: str) -> str:
    """Returns the wheel's platform: on Linux, the newest glibc version that the library asks for decides."""
    if not rid.startswith("linux-"):
        return re.sub("[-.]", "_", sysconfig.get_platform())
    machine = MACHINES[rid.rpartition("-")[2]]
    if "musl" in rid:
        return f"musllinux_1_2_{machine}"
    library = (PACKAGE / "libfedicu.so").read_bytes()
    newest = max(tuple(map(int, version.split(b"."))) for version in re.findall(rb"GLIBC_(\d+\.\d+)", library))
    return f"manylinux_{newest[0]}_{newest[1]}_{machine}"


class Wheel(bdist_wheel):
    """A wheel for any Python 3 on one platform."""

    def get_tag(self) -> tuple[str, str, str]:
        rid = os.environ.get("FEDICU_RID")
        return ("py3", "none", platform_of(rid)) if rid else super().get_tag()


class BinaryDistribution(Distribution):
    """A package with a library of machine code, which belongs into the folder for platform files."""

    def has_ext_modules(self) -> bool:
        return any(PACKAGE.glob("libfedicu.*"))


setup(
    version=runpy.run_path(str(PACKAGE / "_version.py"))["read_version"](),
    distclass=BinaryDistribution,
    cmdclass={"bdist_wheel": Wheel},
)
