#!/usr/bin/env bash
# Measures rounds of up to 5,000 LoRA clients of 4 MB, which are hard links to 100 distinct files. Shows time, peak
# resident set and the most open files, by the number of clients and by the limit of open files.
# Usage: thousands_of_clients.sh [STRATEGY...]. The data (400 MB) are written below ${TMPDIR:-/tmp} and deleted at the
# end.
set -euo pipefail
cd "$(dirname "$0")/.."
strategies=("$@")
[ ${#strategies[@]} -gt 0 ] || strategies=(fedavg)
data=$(mktemp -d)
trap 'rm -rf "$data"' EXIT
export DOTNET_NOLOGO=1 MSBUILDDISABLENODEREUSE=1
dotnet build src/FedICU.Cli -c Release --disable-build-servers -v q >/dev/null
fedicu=$PWD/artifacts/bin/FedICU.Cli/release/fedicu
/usr/bin/python3 benchmarks/files.py adapters "$data/in" 100 5000

round() { # round STRATEGY CLIENTS
    local args=() timed most=0 open
    for k in $(seq 0 $(($2 - 1))); do args+=(--client "$(printf 'c%05d=%s/in/c%05d.safetensors' "$k" "$data" "$k")"); done
    /usr/bin/time -o "$data/time" -f '%e %M' "$fedicu" aggregate --strategy "$1" --global "$data/in/global.safetensors" \
        "${args[@]}" --output "$data/out.safetensors" --set on-unreadable=drop-client --set quorum=1 >"$data/output.txt" &
    timed=$!
    while kill -0 $timed 2>/dev/null; do
        open=$(ls "/proc/$(pgrep -P $timed)/fd" 2>/dev/null | wc -l) || true
        most=$((open > most ? open : most))
        sleep 0.05
    done
    wait $timed
    tail -1 "$data/time" | awk -v s="$1" -v n="$2" -v h="$(ulimit -n)" -v o=$most '{
        printf "%s, %d clients, %s handles: %.2f s, %.2f ms a client, peak resident set %d MB, %d files open\n",
            s, n, h, $1, 1000 * $1 / n, $2 / 1024, o }'
}

for strategy in "${strategies[@]}"; do
    for clients in 200 1000 2500 5000; do round "$strategy" "$clients"; done
    (ulimit -n 1024 && for clients in 1000 2500 5000; do round "$strategy" "$clients"; done)
done
rm "$data/in/c01234.safetensors"
head -c 100000 "$data/in/0.distinct" >"$data/in/c01234.safetensors"
round fedavg 5000
grep -h c01234 "$data/output.txt" | cut -c1-300
