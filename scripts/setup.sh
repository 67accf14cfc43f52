#!/usr/bin/env bash
# Installs what building and testing need beyond the compiler, and says what it installs. What is
# there already is left alone, so a second run does nothing. With --servers also PostgreSQL and NATS, with
# --test all that tests need.
set -euo pipefail
. "$(dirname "$0")/env.sh"

for_tests=false for_servers=false
case ${1:-} in
--servers) for_servers=true ;;
--test) for_tests=true for_servers=true ;;
esac

have cargo || die "setup: Rust is missing; install it with rustup (https://rustup.rs), then run this again"

# apt_install PACKAGE…: as root or through a sudo that asks nothing. Returns 1 when neither is there.
apt_install() {
    local sudo=
    if [ "$(id -u)" != 0 ]; then
        have sudo && sudo -n true 2>/dev/null || return 1
        sudo="sudo -n"
    fi
    have apt-get || return 1
    say "setup: installing system packages: $*"
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" >&2 && return
    # The package list of a fresh machine is empty or old.
    $sudo apt-get update >&2 && $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" >&2
}

have cc || apt_install gcc libc6-dev || die "setup: a C compiler is missing (SQLite and TLS need one)"

$for_servers || exit 0

# The servers that tests, and `make cluster`, start by themselves. Debian's package of PostgreSQL also
# starts one of its own; nobody here needs that, so it is told not to, unless there is one already.
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || have initdb || {
    if [ "$(id -u)" = 0 ] && [ ! -e /etc/postgresql-common/createcluster.conf ]; then
        mkdir -p /etc/postgresql-common
        echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
    fi
    apt_install postgresql || say "setup: PostgreSQL is missing and cannot be installed here; its tests will fail"
}
have nats-server || [ -x /usr/sbin/nats-server ] || apt_install nats-server ||
    say "setup: nats-server is missing and cannot be installed here; its tests will fail"

$for_tests || exit 0

if ! cargo nextest --version >/dev/null 2>&1; then
    say "setup: installing cargo-nextest (once; it takes a few minutes)"
    cargo install --locked cargo-nextest >&2 || say "setup: cargo-nextest could not be installed; cargo test is used instead"
fi

# Browser tests run only where there are any.
if [ -f e2e/package.json ] && grep -q playwright e2e/package.json; then
    have chromium || have chromium-browser || have google-chrome || apt_install chromium ||
        say "setup: chromium is missing and cannot be installed here; the browser tests will fail"
fi

# npm_ci FOLDER: the packages of its lock file, when they are not the ones installed last.
npm_ci() {
    local lock=$1/package-lock.json stamp=$1/node_modules/.installed-from
    [ -f "$lock" ] || return 0
    have npm || die "setup: Node.js is missing; the tests in $1/ need it"
    cmp -s "$lock" "$stamp" && return 0
    say "setup: installing the npm packages of $1/"
    npm ci --prefix "$1" --no-audit --no-fund >&2
    cp "$lock" "$stamp"
}
npm_ci web
npm_ci e2e

if [ -f e2e/python/requirements.txt ]; then
    packages=$TARGET/e2e-python
    if ! cmp -s e2e/python/requirements.txt "$packages/.installed-from"; then
        have python3 || die "setup: python3 is missing; the tests in e2e/python/ need it"
        python3 -m pip --version >/dev/null 2>&1 || apt_install python3-pip || die "setup: pip for python3 is missing"
        say "setup: installing the Python packages of e2e/python/requirements.txt"
        rm -rf "$packages" && mkdir -p "$packages"
        python3 -m pip install --quiet --target "$packages" -r e2e/python/requirements.txt >&2
        cp e2e/python/requirements.txt "$packages/.installed-from"
    fi
fi
