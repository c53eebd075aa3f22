"""Checks the packages of a folder: check_packages.py FEED CHECKOUT.

No file in them names the checkout or the home folder. The documentation covers public members only. Every package has
a README without links into the repository, and a list of what it is built on.
"""
import io
import json
import pathlib
import re
import sys
import xml.etree.ElementTree as xml
import zipfile

feed, checkout = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]).resolve()
secrets = [str(checkout), str(pathlib.Path.home()) + "/"]
faults: list[str] = []
# operators, indexers and extension blocks have other names in the lists of the public surface
UNLISTED = ["op_", ".Item", "<G>$"]


def public_names(project: str) -> set[str]:
    """The names in the lists of the public surface, without parameters and type arguments."""
    names = set()
    for path in (checkout / "src" / project).glob("PublicAPI.*.txt"):
        for line in path.read_text().splitlines():
            line = re.sub(r"<[^<>]*>", "", re.sub(r"<[^<>]*>", "", line)).lstrip("~")
            found = re.search(r"\bFedICU\.[\w.]+|\bMicrosoft\.Extensions\.DependencyInjection\.[\w.]+", line)
            if found:
                names.add(re.sub(r"\.(get|set|init)$", "", found.group()))
    return names


def name_of(member: str) -> str:
    """The name in the lists of a documentation's ID: T:FedICU.A`1, M:FedICU.A.#ctor(System.Int32)."""
    name = re.sub(r"`+\d+", "", member[2:].split("(")[0].split("~")[0])
    parts = name.split(".")
    return ".".join(parts[:-1] + [parts[-2]]) if parts[-1] == "#ctor" else name


def check_file(place: str, content: bytes) -> None:
    """Looks for paths of the machine, in UTF-8 and in the strings of assemblies, which are UTF-16."""
    for secret in secrets:
        if secret.encode() in content or secret.encode("utf-16-le") in content:
            faults.append(f"{place} contains the path {secret}")


def check_documentation(place: str, project: str, content: bytes) -> None:
    members = [str(member.get("name")) for member in xml.parse(io.BytesIO(content)).iter("member")]
    names = public_names(project)
    hidden = [member for member in members if name_of(member) not in names and not any(part in member for part in UNLISTED)]
    if hidden or not members:
        faults.append(f"{place} documents {hidden[:3] or 'nothing'}; {len(hidden)} members are not public")
    print(f"{place}: {len(members)} public members")


def check_package(path: pathlib.Path) -> None:
    with zipfile.ZipFile(path) as package:
        files = package.namelist()
        for name in files:
            content = package.read(name)
            check_file(f"{path.name}: {name}", content)
            if name.endswith(".xml") and name.startswith("lib/"):
                check_documentation(f"{path.name}: {name}", pathlib.PurePosixPath(name).stem, content)
        if path.suffix != ".nupkg":
            return
        specification = package.read(next(name for name in files if name.endswith(".nuspec"))).decode()
        if "README.md" not in files or "](../" in package.read("README.md").decode():
            faults.append(f"{path.name} has no README, or one with links into the repository")
        if "sbom.cdx.json" not in files:
            faults.append(f"{path.name} has no sbom.cdx.json")
            return
        sbom = json.loads(package.read("sbom.cdx.json"))
        listed = {component["name"] for component in sbom["components"]}
        missing = set(re.findall(r'<dependency id="([^"]+)"', specification)) - listed
        if missing:
            faults.append(f"{path.name}: sbom.cdx.json does not list {sorted(missing)}")
        if f"<version>{sbom['metadata']['component']['version']}<" not in specification:
            faults.append(f"{path.name}: sbom.cdx.json is of another version")


for found in sorted([*feed.glob("*.nupkg"), *feed.glob("*.snupkg")]):
    check_package(found)
print("\n".join(faults) or "no fault in the packages")
sys.exit(bool(faults))
