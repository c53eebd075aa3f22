#!/usr/bin/env bash
# Compares FedAvg and FedICU with an earlier commit: rounds in memory, both builds in turn, medians.
# Usage: against.sh COMMIT [ROUNDS]. The table goes to artifacts/benchmarks/against.md.
set -euo pipefail
cd "$(dirname "$0")/.."
commit=$(git rev-parse --short "$1")
rounds=${2:-30}
out=$PWD/artifacts/against
mkdir -p "$out" artifacts/benchmarks
[ -d "$out/$commit" ] || git worktree add --detach "$out/$commit" "$commit"
trap 'git worktree remove --force "$out/$commit"' EXIT
build() {
    dotnet build benchmarks/FedICU.Benchmarks.Against -c Release --nologo -v q -p:Core="$1/src/FedICU.Core/FedICU.Core.csproj" -o "$2"
}
build "$out/$commit" "$out/before"
build "$PWD" "$out/after"
dotnet "$out/after/FedICU.Benchmarks.Against.dll" "$out/before/FedICU.Benchmarks.Against.dll" \
    "$out/after/FedICU.Benchmarks.Against.dll" "$rounds" | tee artifacts/benchmarks/against.md
