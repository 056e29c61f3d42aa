#!/usr/bin/env bash
# Builds the binary that a release ships, as `target/dist/ensue`: with profile-guided optimization, for which an instrumented binary
# runs its own benchmarks, and with packed relocations, which need glibc 2.36 or newer. That takes two builds and some minutes between them.
#
#   packaging/build.sh
#
# It needs the `llvm-profdata` of Rust's LLVM: from `rustup component add llvm-tools`, from Debian's package `llvm-<version>`, or the one
# that LLVM_PROFDATA names.
set -euo pipefail
cd "$(dirname "$0")/.."

host=$(rustc -vV | sed -n 's/^host: //p')
llvm=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
profdata=
for candidate in "${LLVM_PROFDATA:-}" "$(rustc --print sysroot)/lib/rustlib/$host/bin/llvm-profdata" "llvm-profdata-$llvm"; do
  if [ -n "$candidate" ] && "$candidate" --version >/dev/null 2>&1; then
    profdata=$candidate
    break
  fi
done
if [ -z "$profdata" ]; then
  echo "failed: there is no llvm-profdata; run \`rustup component add llvm-tools\`, or install llvm-$llvm" >&2
  exit 1
fi
work=$PWD/target/pgo
rm -rf "$work/raw" "$work/trained.profdata" && mkdir -p "$work/raw"

# With `--target`, the flags reach the binary and not the build scripts.
# They replace those of `.cargo/config.toml`, which are repeated.
flags="-Crelro-level=partial -Clink-args=-Wl,-z,relro,-z,now"
RUSTFLAGS="$flags -Cprofile-generate=$work/raw" \
  cargo build --profile dist --locked --bin ensue --target "$host" --target-dir "$work"

train() {
  LLVM_PROFILE_FILE=$work/raw/%m.profraw "$work/$host/dist/ensue" "$@" >/dev/null
  # The supervisors of a node outlive it for a moment, and each writes its profile when it ends. An incomplete profile cannot be merged.
  for _ in $(seq 30); do
    if "$profdata" merge --failure-mode=any --output "$work/trained.profdata" "$work/raw" 2>/dev/null; then return; fi
    sleep 1
  done
  "$profdata" merge --failure-mode=any --output "$work/trained.profdata" "$work/raw"
}
train bench ingest rule http process batch workflow --seconds 5 --output json
train bench http --rate 200 --seconds 5 --output json
train demo

RUSTFLAGS="$flags -Cprofile-use=$work/trained.profdata -Clink-arg=-Wl,-z,pack-relative-relocs" \
  cargo build --profile dist --locked --bin ensue --target "$host"
install -D "target/$host/dist/ensue" target/dist/ensue
