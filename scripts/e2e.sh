#!/usr/bin/env bash
# Runs the tests that drive the released program from outside, with clients that are not ours. Each
# suite that exists is run; the last line is `e2e: N passed, N failed`.
#
# A suite finds the program in PATCHBAY and starts it by itself, in a home of its own, on port 0.
#   e2e/python/test_*.py    unittest, packages from e2e/python/requirements.txt
#   e2e/*.test.mjs          node --test, packages from e2e/package-lock.json
#   web/                    `npm test`, when package.json has it
#   e2e/*.sh                a test each: exit 0 passes
set -uo pipefail
. "$(dirname "$0")/env.sh"
shopt -s nullglob

[ -x "$PATCHBAY" ] || "$ROOT/scripts/build.sh" >/dev/null || die "e2e: the release build failed"
passed=0 failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# count SUITE STATUS PASSED FAILED: a suite that failed without naming a test is one failure.
count() {
    [ "$2" = 0 ] || [ "$4" -gt 0 ] || set -- "$1" "$2" "$3" 1
    passed=$((passed + $3)) failed=$((failed + $4))
    say "e2e: $1: $3 passed, $4 failed"
}

# number PATTERN…: what the first pattern that occurs caught in its group, from its last line.
number() {
    local pattern found
    for pattern in "$@"; do
        found=$(sed -n "s/$pattern/\1/p" "$log" | tail -n 1)
        [ -z "$found" ] || { echo "$found"; return; }
    done
    echo 0
}

# node_suite NAME COMMAND…: a runner that ends with the summary of node --test or of vitest.
node_suite() {
    local name=$1 status=0
    shift
    NO_COLOR=1 "$@" 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
    count "$name" "$status" \
        "$(number '^# pass \([0-9]*\)$' '^ *Tests .* \([0-9]*\) passed.*')" \
        "$(number '^# fail \([0-9]*\)$' '^ *Tests .* \([0-9]*\) failed.*')"
}

if tests=(e2e/python/test_*.py) && [ ${#tests[@]} -gt 0 ]; then
    PYTHONPATH=$TARGET/e2e-python${PYTHONPATH:+:$PYTHONPATH} PYTHONDONTWRITEBYTECODE=1 \
        python3 -m unittest discover -s e2e/python -p 'test_*.py' -v 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
    ran=$(number '^Ran \([0-9]*\) test.*')
    bad=$(($(number '^FAILED (.*failures=\([0-9]*\).*') + $(number '^FAILED (.*errors=\([0-9]*\).*')))
    skipped=$(number '^[A-Z]* (.*skipped=\([0-9]*\).*')
    count "python" "$status" "$((ran - bad - skipped))" "$bad"
fi

if tests=(e2e/*.test.mjs) && [ ${#tests[@]} -gt 0 ]; then
    # Published clients want a newer Node.js than Debian's; the lock file brings one along.
    node=$ROOT/e2e/node_modules/.bin/node
    "$node" --version >/dev/null 2>&1 || node=node
    node_suite "node" "$node" --test --test-reporter=tap "${tests[@]}"
fi

if [ -f web/package.json ] && node -e 'process.exit(require("./web/package.json").scripts?.test ? 0 : 1)' 2>/dev/null; then
    node_suite "web" npm test --silent --prefix web
fi

for test in e2e/*.sh; do
    status=0
    bash "$test" || status=$?
    count "$test" "$status" "$((status == 0))" "$((status != 0))"
done

echo "e2e: $passed passed, $failed failed"
[ "$failed" = 0 ]
