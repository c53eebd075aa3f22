"""The package's version. Its one home is Directory.Build.props of the repository."""

from __future__ import annotations

import pathlib
import re


def read_version() -> str:
    """Returns the version of the wheel, which has it in a file, or of the repository that holds this package."""
    here = pathlib.Path(__file__).resolve().parent
    installed = here / "version.txt"
    if installed.exists():
        return installed.read_text(encoding="utf-8").strip()
    for folder in here.parents:
        properties = folder / "Directory.Build.props"
        found = re.search("<Version>(.*?)</Version>", properties.read_text(encoding="utf-8")) if properties.exists() else None
        if found:
            return found[1]
    return "0+unknown"
