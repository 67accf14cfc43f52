#!/usr/bin/env bash
# Builds the release binary. Prints its path on stdout and nothing else.
set -euo pipefail
. "$(dirname "$0")/env.sh"
"$ROOT/scripts/setup.sh"
cargo build --release --locked -p patchbay >&2
printf '%s\n' "$PATCHBAY"
