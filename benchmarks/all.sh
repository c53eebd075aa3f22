#!/usr/bin/env bash
# Measures all figures of docs/performance.md: the suite's whole grid, rounds larger than memory, thousands of clients.
# Usage: all.sh [RUNS]. The grid takes about 40 minutes a run, the rest 15. The results go to artifacts/benchmarks.
set -euo pipefail
cd "$(dirname "$0")/.."
runs=${1:-3}
mkdir -p artifacts/benchmarks
dotnet run -c Release --project benchmarks/FedICU.Benchmarks -- --runs "$runs"
{
    bash benchmarks/larger_than_memory.sh 16 fedavg fedicu
    bash benchmarks/thousands_of_clients.sh fedavg
} | tee artifacts/benchmarks/streams.txt
