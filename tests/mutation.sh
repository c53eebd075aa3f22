#!/usr/bin/env bash
# Changes the code of some files of FedICU.Core piece by piece, and counts the changes that no test notices.
# It builds in Debug, so that it leaves Release alone. Crash tests, which run a child process, are left out.
set -euo pipefail
if [ $# -lt 2 ]; then
    echo "usage: $0 FILES TESTS [OPTION...]" >&2
    echo "  FILES   a pattern below src/FedICU.Core, such as 'Files/Publishing/*.cs'" >&2
    echo "  TESTS   a filter of tests that run for each change, such as 'FullyQualifiedName~Files'" >&2
    echo "  OPTION  options of dotnet-stryker, such as --concurrency 4" >&2
    exit 2
fi
files=$1 tests=$2
shift 2
cd "$(dirname "$0")/FedICU.Core.Tests"
settings=$(mktemp --suffix=.json)
trap 'rm -f "$settings"' EXIT
cat >"$settings" <<END
{
  "stryker-config": {
    "project": "FedICU.Core.csproj",
    "mutate": [ "**/$files" ],
    "test-case-filter": "($tests)&FullyQualifiedName!~Crash&TestCategory!=Exhaustive&FullyQualifiedName!~WithoutReadPermission",
    "concurrency": 2,
    "coverage-analysis": "perTest",
    "reporters": [ "cleartext", "html", "json" ],
    "ignore-methods": [ "*Exception.ctor", "ConfigureAwait" ],
    "verbosity": "warning"
  }
}
END
dotnet tool restore >/dev/null
dotnet stryker --config-file "$settings" --skip-version-check --output ../../artifacts/mutation "$@"
