#!/usr/bin/env bash
# Builds the image's `runtime` stage and runs a node in it as production would: read-only, without capabilities, as uid 65532.
#
#   packaging/check-image.sh target/debug/ensue
#
# It needs root, podman, runc and debootstrap, and no registry: the base image is a Debian made by debootstrap from the mirror that this
# machine's own apt uses. Everything is made below `target/image`, and removed at the end.
set -euo pipefail
cd "$(dirname "$0")/.."
binary=$(realpath "$1")
work=$PWD/target/image
base=localhost/ensue-base image=localhost/ensue

# Settings with which podman works without systemd, and in a sandbox.
mkdir -p "$work/out"
cat > "$work/containers.conf" <<'CONF'
[containers]
netns = "none"
default_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
CONF
export CONTAINERS_CONF=$work/containers.conf
podman() { command podman --root "$work/storage" --runroot "$work/run" --storage-driver vfs "$@"; }
clean() {
  podman rm --all --force >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap clean EXIT

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1)
release=$(. /etc/os-release && echo "$VERSION_CODENAME")
packages=ca-certificates,curl,git,jq,openssh-client,python3-minimal,tzdata
debootstrap --variant=minbase --include=$packages "$release" "$work/rootfs" "$mirror" > "$work/debootstrap.log" \
  || { tail -n 20 "$work/debootstrap.log" >&2; exit 1; }
tar --create --directory "$work/rootfs" . | podman import --quiet - $base
rm -rf "$work/rootfs"

install "$binary" "$work/out/ensue"
strip "$work/out/ensue"
podman build --quiet --format docker --layers=false --isolation chroot --target runtime \
  --build-arg BASE=$base --build-context build="$work" --tag $image .

production=(--read-only --cap-drop all --security-opt no-new-privileges --tmpfs /tmp)
podman run --rm "${production[@]}" $image demo

node=$(podman run --detach "${production[@]}" $image)
for _ in $(seq 600); do
  if podman exec "$node" ensue status --ready >/dev/null 2>&1; then ready=yes; break; fi
  sleep 0.1
done
[ "${ready:-no}" = yes ] || { podman logs "$node"; echo "the node in the image is not ready" >&2; exit 1; }
[ "$(podman exec "$node" id --user)" = 65532 ]
podman stop --time 60 "$node" >/dev/null
[ "$(podman inspect --format '{{.State.ExitCode}}' "$node")" = 0 ] || { podman logs "$node"; echo "the node did not stop well" >&2; exit 1; }
echo "the image runs: demo, ready, stopped"
