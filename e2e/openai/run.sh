#!/usr/bin/env bash
# The official OpenAI SDKs against the program: starts the one in PATCHBAY_BIN (else the release build)
# in a home of its own, runs python_sdk.py and node_sdk.mjs, and stops it. The packages are installed
# when they are missing. The last line is `N passed, N failed`.
set -uo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/env.sh"
here=$ROOT/e2e/openai
program=${PATCHBAY_BIN:-$PATCHBAY}
[ -x "$program" ] || die "openai: $program is not there; run make build"

packages=$TARGET/e2e-openai
if ! cmp -s "$here/requirements.txt" "$packages/.installed-from"; then
    say "openai: installing the Python packages of e2e/openai/requirements.txt"
    rm -rf "$packages"
    python3 -m pip install --quiet --target "$packages" -r "$here/requirements.txt" >&2 || die "openai: pip failed"
    cp "$here/requirements.txt" "$packages/.installed-from"
fi
if ! cmp -s "$here/package-lock.json" "$here/node_modules/.installed-from"; then
    say "openai: installing the npm packages of e2e/openai/"
    npm ci --prefix "$here" --no-audit --no-fund >&2 || die "openai: npm failed"
    cp "$here/package-lock.json" "$here/node_modules/.installed-from"
fi

home=$(mktemp -d)
gateway=
cleanup() {
    [ -z "$gateway" ] || { kill "$gateway" 2>/dev/null; wait "$gateway" 2>/dev/null; }
    rm -rf "$home"
}
trap cleanup EXIT

PATCHBAY_UPSTREAM_PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
export PATCHBAY_UPSTREAM_PORT
cat > "$home/config.toml" <<TOML
[providers.up]
kind = "openai"
base_url = "http://127.0.0.1:$PATCHBAY_UPSTREAM_PORT/v1"
api_key = "sk-of-the-test"
discover = false
models = ["scripted", { id = "embedder", embeddings = true }]

[providers.claude]
kind = "anthropic"
base_url = "http://127.0.0.1:$PATCHBAY_UPSTREAM_PORT"
api_key = "sk-of-the-test"
discover = false
models = ["scripted"]

[models]
embedder = "up/embedder"

[agents.main]
model = "up/scripted"

[comis.rate_limit]
max_requests = 1000000
TOML

# Keys of real accounts must not be found: nothing here may leave the machine.
mkfifo "$home/out"
env -u OPENAI_API_KEY -u ANTHROPIC_API_KEY -u GEMINI_API_KEY \
    "$program" serve --home "$home" --listen comis=127.0.0.1:0 > "$home/out" 2> "$home/log" &
gateway=$!
exec 3< "$home/out"
IFS= read -r -t 30 ready <&3 || { cat "$home/log" >&2; die "openai: the gateway did not start"; }
PATCHBAY_URL=$(sed -n 's/^ready .*"comis":"\([^"]*\)".*/\1/p' <<< "$ready")
PATCHBAY_TOKEN=$(cat "$home/admin.token")
export PATCHBAY_URL PATCHBAY_TOKEN
unset OPENAI_API_KEY

passed=0 failed=0
suite() {
    local name=$1 status=0 counts
    shift
    "$@" 2>&1 | tee "$home/suite"
    status=${PIPESTATUS[0]}
    read -r p f < <(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' "$home/suite" | tail -n 1; echo "0 0") || true
    counts="${p:-0} ${f:-0}"
    # A script that died without naming a test is one failure.
    [ "$status" = 0 ] || [ "${counts#* }" -gt 0 ] || counts="${counts% *} 1"
    passed=$((passed + ${counts% *})) failed=$((failed + ${counts#* }))
    say "openai: $name: ${counts% *} passed, ${counts#* } failed"
}
suite python env PYTHONPATH="$packages" PYTHONDONTWRITEBYTECODE=1 python3 "$here/python_sdk.py"
suite node node "$here/node_sdk.mjs"

[ "$failed" = 0 ] || tail -n 40 "$home/log" >&2
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
