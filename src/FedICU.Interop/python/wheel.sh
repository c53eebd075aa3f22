#!/usr/bin/env bash
# Builds a wheel with the shared library inside: wheel.sh [RID], by default linux-x64. It needs the .NET SDK, clang, and
# python3 with build, setuptools and wheel, and uses no network beyond NuGet's restore. The wheel is put into
# artifacts/wheels; everything else is made in a temporary folder. .NET compiles for the system that it runs on, so a
# wheel for Windows or macOS is built there.
set -euo pipefail
rid=${1:-linux-x64}
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
python=${PYTHON:-python3}
"$python" -I -c 'import build, setuptools, wheel' 2>/dev/null || {
    echo "wheel.sh: $python lacks build, setuptools or wheel (Debian: python3-build python3-setuptools python3-wheel)." >&2
    exit 1
}
echo "wheel.sh: builds with $("$python" -c 'import sys; print(sys.executable)')" >&2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# FEDICU_PUBLISHED names the folder of a library that was published already
published=${FEDICU_PUBLISHED:-$work/library}
[ -n "${FEDICU_PUBLISHED:-}" ] ||
    dotnet publish "$root/src/FedICU.Interop" -c Release -r "$rid" -p:Aot=true -o "$published" -v q -nologo --disable-build-servers
library=$(find "$published" -maxdepth 1 \( -name 'libfedicu.so' -o -name 'libfedicu.dylib' -o -name 'libfedicu.dll' \) | head -n 1)
[ -n "$library" ] || { echo "wheel.sh: $published has no libfedicu; the published library was expected there." >&2; exit 1; }

mkdir -p "$work/source/fedicu"
cp "$here"/pyproject.toml "$here"/setup.py "$here"/README.md "$root"/LICENSE "$root"/THIRD-PARTY-NOTICES.txt "$work/source"
cp "$here"/fedicu/*.py "$here"/fedicu/py.typed "$library" "$work/source/fedicu"
chmod 644 "$work"/source/fedicu/libfedicu.*
"$python" -B -c 'import runpy, sys; print(runpy.run_path(sys.argv[1])["read_version"]())' \
    "$here/fedicu/_version.py" >"$work/source/fedicu/version.txt"
cd "$work"
FEDICU_RID=$rid "$python" -m build --wheel --no-isolation --outdir "$work/wheels" "$work/source" >"$work/build.log" 2>&1 ||
    { cat "$work/build.log" >&2; exit 1; }
mkdir -p "$root/artifacts/wheels"
for wheel in "$work"/wheels/*.whl; do
    mv "$wheel" "$root/artifacts/wheels/"
    echo "artifacts/wheels/$(basename "$wheel")"
done
