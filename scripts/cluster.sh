#!/usr/bin/env bash
# A cluster to try out: PostgreSQL and NATS of its own in a temporary folder, three gateways on them,
# and how to talk to each and to kill one. Ctrl-C ends all of it and removes the folder.
#
# PATCHBAY_CLUSTER_PORT=20000 takes the ports 20000, 20010 and 20020 (Aleph) and the next ones (Comis)
# instead of free ones; PATCHBAY_CLUSTER_LEASE says after how many seconds a silent node is replaced.
# The model is whatever the environment names (OPENAI_API_KEY and the like), else the embedded one.
set -euo pipefail
. "$(dirname "$0")/env.sh"
"$ROOT/scripts/setup.sh" --servers
"$ROOT/scripts/build.sh" >/dev/null

programs=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
[ -x "${programs:-}/initdb" ] || programs=$(dirname "$(command -v initdb || echo /nowhere/initdb)")
[ -x "$programs/initdb" ] || die "cluster: PostgreSQL is missing; install the package postgresql"
nats=$(PATH=$PATH:/usr/sbin command -v nats-server) || die "cluster: NATS is missing; install the package nats-server"

models=${PATCHBAY_HOME:-$HOME/.patchbay}
PATCHBAY_HOME=$models "$PATCHBAY" models pull default ||
    say "cluster: the weights of the embedded model could not be installed; name a provider in the environment instead"

folder=$(mktemp -d -t patchbay-cluster-XXXXXX)
started=()
finish() {
    trap '' INT TERM
    local place
    # The gateways first, so that they leave in order; the last one started is the first to go.
    for ((place = ${#started[@]} - 1; place >= 0; place--)); do
        kill -TERM "${started[place]}" 2>/dev/null || continue
        wait "${started[place]}" 2>/dev/null || true
    done
    rm -rf "$folder"
}
trap finish EXIT
trap 'exit 0' INT TERM

# launch OUT LOG COMMAND…: in a session of its own, so that Ctrl-C reaches this script alone, which ends them in order.
launch() { setsid "${@:3}" >"$1" 2>"$2" & started+=($!); }
# until_there WHAT COMMAND…: looks for half a minute.
until_there() {
    local what=$1 tries=0
    shift
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ "$tries" -lt 300 ] || die "cluster: $what does not start; its log is in $folder"
        sleep 0.1
    done
}

# PostgreSQL refuses to run as root.
as=()
if [ "$(id -u)" = 0 ]; then
    account=$(id -u postgres >/dev/null 2>&1 && echo postgres || echo nobody)
    as=(setpriv "--reuid=$account" "--regid=$(id -g "$account")" --clear-groups --)
    chmod 711 "$folder"
fi
mkdir "$folder/postgres"
[ ${#as[@]} = 0 ] || chown "$account" "$folder/postgres"
# Nobody but this account gets to its socket, and it has no port.
chmod 700 "$folder/postgres"
(cd "$folder/postgres" && "${as[@]}" "$programs/initdb" --no-locale --encoding=UTF8 --auth=trust --username=patchbay \
    --pgdata="$folder/postgres/data" >"$folder/initdb.log" 2>&1) || die "cluster: initdb failed: $(cat "$folder/initdb.log")"
launch /dev/null "$folder/postgres.log" "${as[@]}" "$programs/postgres" -D "$folder/postgres/data" \
    -c listen_addresses= -c unix_socket_directories="$folder/postgres"
until_there PostgreSQL "$programs/psql" --host="$folder/postgres" --username=patchbay --dbname=postgres --command="SELECT 1"

launch /dev/null "$folder/nats.log" "$nats" --addr 127.0.0.1 --port -1 --ports_file_dir "$folder"
nats_port() { cat "$folder"/*.ports 2>/dev/null | grep -o '127.0.0.1:[0-9]*' | head -n 1 | grep .; }
until_there NATS nats_port
bus=nats://$(nats_port)

say ""
say "A cluster of three gateways in $folder:"
say ""
for number in 0 1 2; do
    home=$folder/node-$number
    aleph=0 comis=0
    if [ -n "${PATCHBAY_CLUSTER_PORT:-}" ]; then
        aleph=$((PATCHBAY_CLUSTER_PORT + 10 * number))
        comis=$((aleph + 1))
    fi
    mkdir -m 700 "$home"
    [ ! -d "$models/models" ] || ln -s "$models/models" "$home/models"
    cat >"$home/config.toml" <<EOT
[store]
url = "postgres://patchbay@/postgres?host=$folder/postgres"
[bus]
url = "$bus"
[cluster]
node = "node-$number"
lease_secs = ${PATCHBAY_CLUSTER_LEASE:-5}
EOT
    mkfifo "$folder/ready"
    launch "$folder/ready" "$folder/node-$number.log" "$PATCHBAY" serve --home "$home" \
        --listen "aleph=127.0.0.1:$aleph" --listen "comis=127.0.0.1:$comis"
    IFS= read -r line <"$folder/ready" || die "cluster: node-$number does not start: $(tail -n 5 "$folder/node-$number.log")"
    rm "$folder/ready"
    address() { printf '%s' "$line" | sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }
    cat >&2 <<EOT
  node-$number   $(address aleph)   $(address comis)   process ${started[-1]}
           token $home/admin.token, log $folder/node-$number.log
EOT
done
cat >&2 <<EOT

  who is there   $PATCHBAY --home $folder/node-1 cluster status
  talk to one    $PATCHBAY --home $folder/node-1 chat "hi"
  kill one       kill -9 ${started[2]}
  start it anew  $PATCHBAY serve --home $folder/node-0 --listen aleph=127.0.0.1:0 --listen comis=127.0.0.1:0

Every token is good at every node. Ctrl-C ends all and removes the folder.
EOT
# Until somebody ends it; a node that is killed is what it is for.
while :; do sleep 3600 & wait $!; done
