#!/usr/bin/env bash
# Mutation tests of FedICU.Core with Stryker.NET: how many small faults, put into the code one at a time, do the tests find?
#
#   eng/mutate.sh Strategies                     every 12th file of a room: Files, Rounds or Strategies
#   eng/mutate.sh Strategies 1                   all its files (some hours)
#   eng/mutate.sh Strategies '**/Robust/*.cs'    the files that match
#
# The tests are those in the folder of the same name, without those that take minutes. Prints the score and the faults
# that no test found. The report is in artifacts/mutation.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

# 5.1.0 stops after the first run of these tests without a reason (seen 2026-11 and 2026-12)
version=5.0.0
tool=artifacts/stryker/$version
[ -x "$tool/dotnet-stryker" ] || dotnet tool install dotnet-stryker --version "$version" --tool-path "$tool"

room=${1:?Files, Rounds or Strategies was expected}
files=${2-12}
case $files in
    *[!0-9]*) ;;
    # a systematic sample: each file whose number in alphabetical order is a multiple
    *) files=$(git ls-files "src/FedICU.Core/$room" | grep '\.cs$' | awk -v step="$files" 'NR % step == 0' |
        sed 's|^src/FedICU.Core/|**/|') ;;
esac
tests=$(grep -rhoP 'class \K\w+Tests?\b' "tests/FedICU.Core.Tests/$room" | grep -vE 'Crash|Memory|Huge|ManyClients' | sort -u)

# Each fault meets all these tests: to measure which tests reach it, as Stryker would, takes an hour before the first one.
# Messages stay as they are: the tests compare the sentences that decide something, not each one.
mkdir -p artifacts/stryker
cat > artifacts/stryker/config.json <<END
{
  "stryker-config": {
    "project": "FedICU.Core.csproj",
    "mutate": [$(sed 's/.*/"&"/' <<<"$files" | paste -sd,)],
    "ignore-mutations": ["string"],
    "test-case-filter": "$(sed 's/.*/FullyQualifiedName~.&./' <<<"$tests" | paste -sd'|')",
    "coverage-analysis": "off",
    "reporters": ["json", "html"],
    "configuration": "Release",
    "concurrency": 2,
    "thresholds": { "high": 90, "low": 80, "break": 0 }
  }
}
END
cd tests/FedICU.Core.Tests
"$root/$tool/dotnet-stryker" --config-file "$root/artifacts/stryker/config.json" --output "$root/artifacts/mutation"
cd "$root"
python3 - artifacts/mutation/reports/mutation-report.json <<'END'
import collections
import json
import sys

rooms = collections.defaultdict(collections.Counter)
survivors = []
for path, file in json.load(open(sys.argv[1]))["files"].items():
    name = path.split("FedICU.Core/")[-1]
    for mutant in file["mutants"]:
        rooms[name.split("/")[0]][mutant["status"]] += 1
        if mutant["status"] in ("Survived", "NoCoverage"):
            place = mutant["location"]["start"]
            survivors.append(f"{name}:{place['line']}  {mutant['mutatorName']} -> {mutant.get('replacement', '')[:90]!r}")
print("room, faults, found, not found, share found")
for room, counts in sorted(rooms.items()):
    found = counts["Killed"] + counts["Timeout"]
    missed = counts["Survived"] + counts["NoCoverage"]
    if found + missed:
        print(f"{room}, {found + missed}, {found}, {missed}, {found / (found + missed):.0%}")
print(*sorted(survivors), sep="\n")
END
