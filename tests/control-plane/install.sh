#!/usr/bin/env bash
# Installs what build.sh cannot build: Debian's etcd. Run as root, by CI; does nothing where etcd is already there.
set -euo pipefail
command -v etcd >/dev/null && exit 0
export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install --yes --no-install-recommends etcd-server
