#!/usr/bin/env bash
# Builds what is missing, installs the weights of the embedded model, starts the gateway, and says how
# to talk to it as soon as it is ready. PATCHBAY_HOME chooses the home; arguments go to `serve`.
set -euo pipefail
. "$(dirname "$0")/env.sh"
"$ROOT/scripts/build.sh" >/dev/null

# Without weights the gateway runs all the same, with whatever providers are configured.
"$PATCHBAY" models pull default || say "run: the weights of the embedded model could not be installed; configure a provider instead"

home=${PATCHBAY_HOME:-$HOME/.patchbay}
lines=$(mktemp -d)
trap 'rm -rf "$lines"' EXIT
mkfifo "$lines/ready"
"$PATCHBAY" serve "$@" >"$lines/ready" &
gateway=$!
# Ctrl-C reaches the gateway too; wait for it to drain instead of leaving it behind.
trap 'kill -TERM "$gateway" 2>/dev/null || true' INT TERM

# The first line is `ready {json}`; its end means that the gateway did not start.
IFS= read -r line <"$lines/ready" || line=
if [ "${line#ready }" != "$line" ]; then
    address() { printf '%s' "$line" | sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }
    url=$(address comis)
    cat >&2 <<EOT

The gateway is ready.

  talk to it     $PATCHBAY chat "hi"
  its token      $home/admin.token
  with curl      curl $url/v1/chat/completions -H "authorization: Bearer \$(cat $home/admin.token)" \\
                   -H 'content-type: application/json' -d '{"model":"agent/main","messages":[{"role":"user","content":"hi"}]}'
  dashboard      $(address dashboard)
  protocols      Aleph $(address aleph)   Comis $url   ArgentOS $(address argent)

Ctrl-C stops it.
EOT
fi
status=0
wait "$gateway" || status=$?
# A signal ends the first wait early; the second one collects the gateway's own answer to it.
while kill -0 "$gateway" 2>/dev/null; do wait "$gateway" || status=$?; done
exit "$status"
