#!/usr/bin/env bash
# Builds the optimised program and packs it with its licences and checksum into target/bundle/.
set -euo pipefail
. "$(dirname "$0")/env.sh"
"$ROOT/scripts/setup.sh"

cargo build --profile dist --locked -p patchbay
platform=$(rustc -vV | sed -n 's/^host: //p')
version=$(git describe --tags --always --dirty 2>/dev/null || echo unversioned)
name=patchbay-$version-$platform
bundle=$TARGET/bundle
rm -rf "${bundle:?}/$name" && mkdir -p "$bundle/$name"
cp "$TARGET/dist/patchbay" LICENSE-APACHE LICENSE-MIT "$bundle/$name/"
for file in README.md CHANGELOG.md; do [ ! -f "$file" ] || cp "$file" "$bundle/$name/"; done
# The same input gives the same archive: fixed order, owner and time.
time=$(git log -1 --format=%ct 2>/dev/null || echo 0)
tar -C "$bundle" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$time" -cf - "$name" | gzip -n >"$bundle/$name.tar.gz"
(cd "$bundle" && sha256sum "$name.tar.gz" >"$name.tar.gz.sha256")
rm -rf "${bundle:?}/$name"
du -h "$TARGET/dist/patchbay" "$bundle/$name.tar.gz"
