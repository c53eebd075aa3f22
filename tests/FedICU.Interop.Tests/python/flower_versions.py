"""Runs federate_flower.py and the sample's run.py against versions of Flower: flower_versions.py CHECKOUT [TAG ...].

CHECKOUT is a git checkout of Flower's repository. Without tags, all of v1.17.0 and newer and the checkout's HEAD run;
before v1.22.0 only the mod (federate_mod.py). Each version's sources are unpacked into a temporary folder; nothing is
installed. It needs git, the library (FEDICU_LIBRARY), and a python3 with numpy, grpcio and protobuf; stand-ins replace
the other packages that Flower imports (standins.py).
"""

import os
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
# the oldest versions of the mod, and of the strategies
OLDEST_OF_MOD, OLDEST = (1, 17), (1, 22)
# paths of the package in the repository: since 1.18, and before
PACKAGES = ("framework/py/flwr", "src/py/flwr")


def git(checkout, *arguments):
    return subprocess.run(["git", "-C", checkout, *arguments], check=True, capture_output=True).stdout


def versions(checkout):
    """Returns the tags that are supported, oldest first, and HEAD."""
    tags = [tag for tag in git(checkout, "tag").decode().split() if re.fullmatch(r"(v|framework-)\d+\.\d+\.\d+", tag)]
    return [*sorted((tag for tag in tags if number_of(tag)[:2] >= OLDEST_OF_MOD), key=number_of), "HEAD"]


def number_of(tag):
    return tuple(map(int, re.findall(r"\d+", tag)))


def unpack(checkout, version, folder):
    """Unpacks a version's package. Returns the folder to import it from."""
    for package in PACKAGES:
        if git(checkout, "ls-tree", "--name-only", version, package):
            archive = pathlib.Path(folder, "flower.tar")
            archive.write_bytes(git(checkout, "archive", version, package))
            with tarfile.open(archive) as tar:
                tar.extractall(folder)
            return pathlib.Path(folder, package).parent
    raise FileNotFoundError(f"{version} of {checkout} has none of {', '.join(PACKAGES)}.")


def run(checkout, version):
    """Returns whether a version passes, and prints a line for each script."""
    passed = True
    with tempfile.TemporaryDirectory() as folder:
        sources = unpack(checkout, version, folder)
        package = [] if "fedicu" in os.environ.get("PYTHONPATH", "") else [str(ROOT / "src" / "FedICU.Interop" / "python")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(sources), str(HERE), *package, os.environ.get("PYTHONPATH", "")])}
        is_old = version.startswith("v") and number_of(version)[:2] < OLDEST
        scripts = [HERE / "federate_mod.py"] if is_old else [HERE / "federate_flower.py", ROOT / "samples" / "flower" / "run.py"]
        for script in scripts:
            start = f"import standins, runpy; runpy.run_path({str(script)!r}, run_name='__main__')"
            done = subprocess.run([sys.executable, "-B", "-c", start], env=environment, capture_output=True, text=True, cwd=folder)
            # unittest's last line, and the sample's
            last = (done.stderr if script.name == "federate_flower.py" else done.stdout).strip().splitlines()[-1:]
            print(f"{version:10} {script.parent.name}/{script.name}: {'passed' if done.returncode == 0 else 'FAILED'} ({''.join(last)})")
            if done.returncode != 0:
                print(done.stdout[-3000:], done.stderr[-6000:])
                passed = False
    return passed


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    results = [run(sys.argv[1], version) for version in sys.argv[2:] or versions(sys.argv[1])]
    sys.exit(0 if all(results) else 1)
