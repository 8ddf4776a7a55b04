#!/usr/bin/env bash
# Builds the independent verifier of the audit log from the Go module proxy, into the cache, under the hash of what it depends on.
#
#   build.sh           build it if it is absent, and print its path
#   build.sh --check   build nothing; print that path, or say what is absent and exit 1
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

hash=$(sha256sum -- go.mod go.sum main.go | sha256sum | cut -c1-16)
program="${STANCH_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/stanch}/log-verifier/$hash/log-verifier"

if [ ! -x "$program" ]; then
  if [ "${1:-}" = --check ]; then
    echo "not built: $program (run tests/log-verifier/build.sh)" >&2
    exit 1
  fi
  mkdir -p "$(dirname "$program")"
  # Built beside its place and moved, so that an interrupted build leaves nothing that looks finished.
  CGO_ENABLED=0 GOFLAGS="-mod=readonly -trimpath -buildvcs=false -p=${STANCH_BUILD_JOBS:-2}" go build -o "$program.$$" .
  mv "$program.$$" "$program"
fi
echo "$program"
