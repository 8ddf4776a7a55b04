#!/usr/bin/env bash
# Builds the control plane that the contract tests run against: three Kubernetes binaries, and `up`, which runs them. Where no kubectl
# is installed, builds that too, beside them.
#
#   build.sh           build what is absent, and print the path of `up`, which is beside the others
#   build.sh --check   build nothing; print that path, or say what is absent and exit 1
#
# The Kubernetes binaries depend on go.mod and go.sum only, `up` on its own sources too, so each is cached under the hash
# of what it depends on, outside the tree: a clean clone, and a change of `up`, do not pay for Kubernetes again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

version=$(awk '$1 == "k8s.io/kubernetes" { print $2; exit }' go.mod)
hash_of() { sha256sum -- "$@" | sha256sum | cut -c1-16; }
mapfile -t sources < <(find . -name '*.go' | LC_ALL=C sort)
bin="${STANCH_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/stanch}/control-plane/$(hash_of go.mod go.sum)/bin"
kubernetes=(kube-apiserver kube-controller-manager kube-scheduler)
up="up-$(hash_of go.mod go.sum "${sources[@]}")"

absent=()
for name in "${kubernetes[@]}" "$up"; do
  [ -x "$bin/$name" ] || absent+=("$name")
done

if [ "${1:-}" = --check ]; then
  if [ ${#absent[@]} -gt 0 ]; then
    echo "not built: ${absent[*]} in $bin (run tests/control-plane/build.sh)" >&2
    exit 1
  fi
  if ! command -v etcd >/dev/null; then
    echo "not installed: etcd (run tests/control-plane/install.sh as root)" >&2
    exit 1
  fi
  echo "$bin/$up"
  exit 0
fi

# Clients and servers read their own version from these variables; without them an apiserver says v0.0.0 and
# clients that compare versions refuse it.
flags=(-s -w)
number=${version#v}
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
  flags+=(-X "$package.gitVersion=$version" -X "$package.gitMajor=${number%%.*}" -X "$package.gitTreeState=archive")
  minor=${number#*.}
  flags+=(-X "$package.gitMinor=${minor%%.*}")
done

# No C compiler needed.
export CGO_ENABLED=0
# Two at a time: a compiler of a Kubernetes package takes up to 1 GB, and a Rust build may run beside this one.
export GOFLAGS="-mod=readonly -trimpath -buildvcs=false -p=${STANCH_BUILD_JOBS:-2}"

command -v kubectl >/dev/null || [ -x "$bin/kubectl" ] || absent+=(kubectl)

mkdir -p "$bin"
for name in "${absent[@]}"; do
  package="k8s.io/kubernetes/cmd/$name"
  [ "$name" = "$up" ] && package=./up
  started=$SECONDS
  # Built beside its place and moved, so that an interrupted build leaves nothing that looks finished.
  go build -o "$bin/.$name.$$" -ldflags "${flags[*]}" "$package"
  mv "$bin/.$name.$$" "$bin/$name"
  echo "built $name in $((SECONDS - started)) s" >&2
done
# Every change of `up` leaves one of 22 MB behind. Five are enough for the branches somebody works on at a time.
(cd "$bin" && ls -t | grep '^up-' | tail -n +6 | xargs -r rm --)
echo "$bin/$up"
