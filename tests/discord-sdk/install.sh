#!/bin/sh
# Installs discord.js for tests/it/discord_emulator/sdk.rs, outside the tree: into $STANCH_CACHE/discord-sdk, where STANCH_CACHE is
# $XDG_CACHE_HOME/stanch or ~/.cache/stanch if unset. Does nothing if it is there already.
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
target="${STANCH_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/stanch}/discord-sdk"
if cmp -s "$here/package-lock.json" "$target/package-lock.json" && [ -e "$target/installed" ]; then
    exit 0
fi
mkdir -p "$target"
rm -f "$target/installed"
cp "$here/package.json" "$here/package-lock.json" "$here/.npmrc" "$target/"
cd "$target"
npm ci --ignore-scripts --no-audit --no-fund
: > installed
