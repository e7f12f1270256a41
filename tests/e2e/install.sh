#!/bin/sh
# Installs the real clients, registries and servers that the end-to-end tests and the bench drive.
# Idempotent. Needs root and Debian (or a derivative with apt). What cannot be installed is a failure:
# no test is ever skipped because its client is missing.
set -eu

programs="dockerd docker containerd ctr podman buildah skopeo docker-registry nginx crun curl mount pg_ctl setpriv"
packages="docker.io containerd podman buildah skopeo docker-registry nginx-light crun curl ca-certificates mount postgresql"

PATH="$PATH:/usr/sbin:/sbin"
export PATH

# Debian keeps PostgreSQL's programs off the path, by version: the directory is looked for at each call.
missing() {
    for bin in /usr/lib/postgresql/*/bin; do PATH="$PATH:$bin"; done
    for program in $programs; do
        command -v "$program" >/dev/null 2>&1 || printf '%s ' "$program"
    done
}

if [ -z "$(missing)" ]; then
    echo "e2e: everything is installed"
    exit 0
fi

fail() {
    echo "e2e: cannot install: $1. $2" >&2
    exit 1
}

[ "$(id -u)" -eq 0 ] || fail "not root" "Run it as root: sudo tests/e2e/install.sh"
command -v apt-get >/dev/null 2>&1 || fail "apt-get is missing" "Install these programs yourself: $(missing)"

# The packages start services of their own; the tests bring their own daemons, so forbid that.
policy=/usr/sbin/policy-rc.d
made_policy=
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    made_policy=yes
fi
trap '[ -z "$made_policy" ] || rm -f "$policy"' EXIT

export DEBIAN_FRONTEND=noninteractive
apt-get update -q || fail "apt-get update failed" "Look at the messages above"
# shellcheck disable=SC2086
apt-get install -q -y --no-install-recommends $packages || fail "apt-get install failed" "Look at the messages above"

left=$(missing)
[ -z "$left" ] || fail "still missing after the installation: $left" "Install them by hand"
echo "e2e: installed"
