#!/usr/bin/env bash
# Everything that a push is held to: format, lints, tidy, tests, generated files, then the tests that
# drive the released program from outside. The last line is `N passed, N failed`.
set -uo pipefail
. "$(dirname "$0")/env.sh"

"$ROOT/scripts/setup.sh" --test || exit 1
log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed_steps=0

# The program itself first: tests of the embedded model need its weights, and the suites from outside
# need the program. It is built once, in the release profile.
if "$ROOT/scripts/build.sh" >/dev/null; then
    "$PATCHBAY" models pull default || { say "test: the weights of the embedded model could not be installed"; failed_steps=$((failed_steps + 1)); }
else
    say "test: the release build failed"
    failed_steps=$((failed_steps + 1))
fi

cargo run --quiet --locked --package xtask -- check 2>&1 | tee "$log"
[ "${PIPESTATUS[0]}" = 0 ] || grep -q '^check: ' "$log" || failed_steps=$((failed_steps + 1))
if [ -x "$PATCHBAY" ]; then
    "$ROOT/scripts/e2e.sh" 2>&1 | tee -a "$log"
    [ "${PIPESTATUS[0]}" = 0 ] || grep -q '^e2e: .* failed$' "$log" || failed_steps=$((failed_steps + 1))
fi

# The closing lines of both, added up.
sum() { sed -n 's/^\(check\|e2e\): \([0-9]*\) passed, \([0-9]*\) failed$/\2 \3/p' "$log" | awk -v at="$1" '{ n += $at } END { print n + 0 }'; }
passed=$(sum 1)
failed=$(($(sum 2) + failed_steps))
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
