#!/usr/bin/env bash
# Packs the command line as a native tool: three packages, of which 'dotnet tool install' takes the right one.
# Needs what .NET's Native AOT needs: clang and zlib's headers on Linux.
set -euo pipefail
if [ $# -lt 1 ]; then
    echo "usage: $0 FEED [RID]; the packages are written to the folder FEED; RID is this machine's by default" >&2
    exit 2
fi
feed=$(realpath -m "$1")
rid=${2:-$(dotnet --info | sed -n 's/^ *RID: *//p')}
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# the managed build, which the native one starts for GPUs and plug-ins
dotnet publish -c Release -r "$rid" --no-self-contained -o "$work/managed" -v q -nologo
# for this platform; for all others; the package that names both
dotnet pack -c Release -r "$rid" -p:NativeTool="$rid" -p:ManagedTool="$work/managed" \
    -p:PublishDir="$work/native/" -o "$feed" -v q -nologo
dotnet pack -c Release -r any -p:NativeTool="$rid" -p:PublishDir="$work/any/" -o "$feed" -v q -nologo
dotnet pack -c Release -p:NativeTool="$rid" -o "$feed" -v q -nologo
ls -l "$feed"/FedICU.Cli.*nupkg
