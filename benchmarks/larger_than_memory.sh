#!/usr/bin/env bash
# Measures rounds of 16 clients of a 2 GB sharded bf16 model, 32 GB on the disk. Compares their speed with plain
# reading, from the disk and from memory, and shows the peak resident set.
# Usage: larger_than_memory.sh [CLIENTS] [STRATEGY...]. The data are written below ${TMPDIR:-/tmp} and deleted at the
# end. If KEEP is set, the data stay in that folder for the next run.
set -euo pipefail
cd "$(dirname "$0")/.."
clients=${1:-16}
strategies=("${@:2}")
[ ${#strategies[@]} -gt 0 ] || strategies=(fedavg)
data=${KEEP:-$(mktemp -d)}
[ -n "${KEEP:-}" ] && mkdir -p "$data" && trap 'rm -rf "$data/out"' EXIT || trap 'rm -rf "$data"' EXIT
need=$(((clients + 3) * 2148)) free=$(df -BM --output=avail "$data" | tail -1 | tr -dc 0-9)
if [ ! -d "$data/in" ] && [ "$free" -lt "$need" ]; then
    echo "skipped: $need MB of disk are needed, $free are free"
    exit 0
fi

export DOTNET_NOLOGO=1 MSBUILDDISABLENODEREUSE=1
dotnet build src/FedICU.Cli -c Release --disable-build-servers -v q >/dev/null
fedicu=$PWD/artifacts/bin/FedICU.Cli/release/fedicu
[ -d "$data/in" ] || /usr/bin/python3 benchmarks/files.py sharded "$data/in" "$clients" 4 8 4096 8192

round() { # round LABEL STRATEGY CLIENTS
    local args=() start seconds
    for k in $(seq 0 $(($3 - 1))); do args+=(--client "$(printf '%s/in/c%04d' "$data" "$k")"); done
    rm -rf "$data/out"
    start=$(date +%s.%N)
    /usr/bin/time -o "$data/time" -f %M "$fedicu" aggregate --strategy "$2" --global "$data/in/global" "${args[@]}" \
        --output "$data/out/" >/dev/null
    seconds=$(echo "$(date +%s.%N) - $start" | bc)
    awk -v l="$1" -v s="$2" -v n="$3" -v t="$seconds" -v m="$(tail -1 "$data/time")" -v d="$ceiling" 'BEGIN {
        speed = n * 2.147483648 / t
        printf "%s, %s, %d clients: %.1f s, %.2f GB/s of inputs, %.0f%% of plain reading, peak resident set %d MB\n",
            s, l, n, t, speed, 100 * speed / d, m / 1024 }'
}

for _ in 1 2 3; do
    /usr/bin/python3 benchmarks/files.py forget "$data/in"
    ceiling=$(/usr/bin/python3 benchmarks/files.py read "$data/in")
    echo "plain reading from the disk: $ceiling GB/s"
    for strategy in "${strategies[@]}"; do
        /usr/bin/python3 benchmarks/files.py forget "$data/in"
        round uncached "$strategy" "$clients"
    done
done
cached=$((clients < 6 ? clients : 6))
ceiling=$(/usr/bin/python3 benchmarks/files.py reread "$data"/in/c000[0-$((cached - 1))])
echo "plain reading from memory: $ceiling GB/s"
for strategy in "${strategies[@]}"; do
    for _ in 1 2 3; do round cached "$strategy" "$cached"; done
done
