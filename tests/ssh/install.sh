#!/usr/bin/env bash
# Installs Debian's OpenSSH server, against which the SSH adapter is tested. Run as root, by CI; does nothing where it is already there.
# No server is started: the tests start their own, on loopback.
set -euo pipefail
if ! [ -x /usr/sbin/sshd ] || ! command -v ssh-keygen >/dev/null; then
  export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
  apt-get update
  apt-get install --yes --no-install-recommends openssh-server openssh-client
fi
# Its separated half lives in this folder, which only systemd would make.
mkdir -p /run/sshd
