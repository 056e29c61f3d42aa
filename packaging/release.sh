#!/usr/bin/env bash
# Makes what a release is installed from, in `target/release-files`: a tarball with the stripped binary, man pages, completions, the
# systemd unit and the files for authors in Python and JavaScript; a Debian package of the same, if cargo-deb is installed; and their checksums.
set -euo pipefail
cd "$(dirname "$0")/.."

version=$(cargo metadata --format-version 1 --no-deps --locked | python3 -c \
  'import json, sys; print(next(p["version"] for p in json.load(sys.stdin)["packages"] if p["name"] == "ensue"))')
name=ensue-$version-$(rustc -vV | sed -n 's/^host: //p')
out=target/release-files
binary=target/dist/ensue

packaging/build.sh
rm -rf "$out" && mkdir -p "$out/$name"/{man,completions,sdk/python,sdk/javascript}
install "$binary" "$out/$name/ensue"
"$binary" man --all "$out/$name/man"
for shell in bash fish zsh; do
  "$binary" completions "$shell" > "$out/$name/completions/ensue.$shell"
done
install -m 644 README.md CHANGELOG.md LICENSE packaging/ensue.service "$out/$name/"
for language in python javascript; do
  # Only what is in the repository: building a package leaves files beside it.
  git ls-files -z "sdk/$language" | xargs -0 install -m 644 -t "$out/$name/sdk/$language"
done
tar --create --gzip --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$(git log -1 --format=%ct)" \
  --directory "$out" --file "$out/$name.tar.gz" "$name"

if cargo deb --version >/dev/null 2>&1; then
  # The package takes the man pages and completions from a place that does not depend on the version.
  rm -rf target/deb-files && cp -r "$out/$name" target/deb-files && gzip -9n target/deb-files/man/*.1
  cargo deb --no-build --no-strip --profile dist -p ensue --output "$out/"
else
  echo "skipped: the Debian package: install cargo-deb with \`cargo install --locked cargo-deb\`" >&2
fi
rm -rf "${out:?}/$name"
(cd "$out" && sha256sum -- * > SHA256SUMS && cat SHA256SUMS)
