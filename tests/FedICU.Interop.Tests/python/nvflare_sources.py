"""Runs federate_nvflare.py and the sample's job against NVFlare's sources in its own simulator: nvflare_sources.py CHECKOUT.

CHECKOUT is a checkout of NVFlare's repository. It needs the library (FEDICU_LIBRARY), and a python3 with numpy, grpcio,
protobuf, msgpack, filelock, cryptography, psutil and pyyaml; stand-ins replace the other packages that NVFlare imports
(standins.py), also in the processes that the simulator starts. With torch it also runs federate_fedopt.py.
"""

import importlib.util
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
SCRIPTS = [HERE / "federate_nvflare.py", ROOT / "samples" / "nvflare" / "run.py"]
if importlib.util.find_spec("torch"):
    SCRIPTS.append(HERE / "federate_fedopt.py")
# seconds; a job of three rounds takes about twenty
LONGEST = 400

if len(sys.argv) < 2:
    sys.exit(__doc__)
failed = False
with tempfile.TemporaryDirectory() as folder:
    # Python imports this module when it starts
    pathlib.Path(folder, "sitecustomize.py").write_text("import standins\n")
    paths = [folder, str(HERE), str(ROOT / "src" / "FedICU.Interop" / "python"), sys.argv[1], os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path), "PYTHONDONTWRITEBYTECODE": "1"}
    for script in SCRIPTS:
        done = subprocess.run(
            [sys.executable, script], env=environment, capture_output=True, text=True, cwd=folder, timeout=LONGEST, check=False)
        lines = [line for line in done.stdout.splitlines() if line.startswith(("fedicu: ", "sample: "))]
        print(f"{script.parent.name}/{script.name}: {'passed' if done.returncode == 0 else 'FAILED'}", *lines, sep="\n    ")
        if done.returncode != 0:
            print(done.stdout[-6000:], done.stderr[-6000:])
            failed = True
sys.exit(failed)
