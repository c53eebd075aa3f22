#!/bin/sh
# Makes an authority, the service's certificate and the combiner's: certificates.sh FOLDER [NAME-OF-THE-SERVICE...]
# The authority's key, ca/key.pem, is needed for further certificates only: keep it away from both machines.
set -eu
folder=${1:?"usage: certificates.sh FOLDER [NAME...]"}
shift
names=DNS:localhost,IP:127.0.0.1
for name in "$@"; do names=$names,DNS:$name; done
umask 077
mkdir -p "$folder/ca" "$folder/server" "$folder/client"
cd "$folder"

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 3650 -subj "/CN=FedICU's own authority" \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign -keyout ca/key.pem -out ca/ca.pem

sign() { # sign FOLDER COMMON-NAME EXTENSIONS...
    target=$1 name=$2
    shift 2
    printf '%s\n' "$@" >"$target/extensions"
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -subj "/CN=$name" -keyout "$target/key.pem" -out "$target/request"
    openssl x509 -req -in "$target/request" -CA ca/ca.pem -CAkey ca/key.pem -days 365 -extfile "$target/extensions" \
        -out "$target/cert.pem"
    rm "$target/request" "$target/extensions"
    cp ca/ca.pem "$target/ca.pem"
}

sign server "${1:-localhost}" extendedKeyUsage=serverAuth "subjectAltName=$names"
sign client combiner extendedKeyUsage=clientAuth
