#!/usr/bin/env bash
# Runs every fuzz target for FUZZ_SECONDS each (60 by default), or the targets named. The corpus grows
# in fuzz/corpus/ and starts from fuzz/seeds/; an input that breaks something is kept in fuzz/artifacts/.
set -euo pipefail
. "$(dirname "$0")/env.sh"
"$ROOT/scripts/setup.sh"

seconds=${FUZZ_SECONDS:-60}
if ! cargo fuzz --version >/dev/null 2>&1; then
    say "fuzz: installing cargo-fuzz (once; it takes a minute or two)"
    cargo install --locked cargo-fuzz >&2
fi
# The sanitizers are unstable flags: a nightly compiler has them, the stable one with a word of ours.
if rustc +nightly --version >/dev/null 2>&1; then
    fuzz=(cargo +nightly fuzz)
else
    export RUSTC_BOOTSTRAP=1
    fuzz=(cargo fuzz)
fi
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(cargo fuzz list)
for target in "${targets[@]}"; do
    say "fuzz: $target for $seconds s"
    mkdir -p "fuzz/corpus/$target" "fuzz/seeds/$target"
    "${fuzz[@]}" run "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1
done
