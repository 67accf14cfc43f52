#!/usr/bin/env bash
# The tests of faults in their long forms, each with a seed that it prints: schedules of the simulation,
# thousands of kills of one gateway, hundreds of a cluster's nodes. Takes hours on a small
# machine; PATCHBAY_SOAK=N does N times as much (0.01 to see that it works).
set -uo pipefail
. "$(dirname "$0")/env.sh"
"$ROOT/scripts/setup.sh" --servers || exit 1

scale=${PATCHBAY_SOAK:-1}
# times NUMBER: so many times the scale, and at least one.
times() { awk -v number="$1" -v scale="$scale" 'BEGIN { value = int(number * scale); print (value < 1 ? 1 : value) }'; }
failed=0
# soak WHAT COMMAND…: says how it went; the output of a failure names its seed.
soak() {
    local what=$1 began=$SECONDS
    shift
    say ""
    say "soak: $what"
    if "$@"; then
        say "soak: $what: passed after $((SECONDS - began)) s"
    else
        say "soak: $what: FAILED after $((SECONDS - began)) s; the seed stands above"
        failed=$((failed + 1))
    fi
}
# suite CRATE SUITE ARGUMENTS…: one test at a time, so that each has the machine.
suite() { cargo test --locked --release -p "$1" --test "$2" -- --nocapture --test-threads=1 "${@:3}"; }
# with NAME=VALUE COMMAND…: as `env`, for functions too.
with() { (export "$1" && "${@:2}"); }

soak "schedules of the simulation" with PATCHBAY_SCHEDULES="$(times 20000)" suite services simulation
soak "kills of one gateway" with PATCHBAY_KILLS="$(times 5000)" suite patchbay crash
soak "kills of nodes in a cluster" with PATCHBAY_CLUSTER_ROUNDS="$(times 100)" suite patchbay cluster kills
soak "cuts, frozen nodes, restarts, a lost bus and a database that is away" \
    with PATCHBAY_OUTAGE_SECS="$(times 30)" suite patchbay cluster --skip kills
soak "a full disk, and crowds of connections" suite patchbay limits

say ""
say "soak: $failed parts failed"
[ "$failed" = 0 ]
