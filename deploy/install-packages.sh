#!/bin/sh
# Installs what deploy/packages.txt lists and this Debian lacks, or the packages named as arguments; does nothing, quickly, when all is there.
# Needs root or sudo only when something is missing. Starts no system-wide server.
set -eu

# The first word of each line; lines whose second word is unless:COMMAND only where that command is not there, from wherever it came.
listed() {
    sed -E 's/#.*//; /^[[:space:]]*$/d' "$(dirname "$0")/packages.txt" | while read -r package condition _; do
        case $condition in unless:*) ! command -v "${condition#unless:}" >/dev/null || continue ;; esac
        echo "$package"
    done
}
wanted=${*:-$(listed)}

# One query for all: a package that dpkg never heard of is simply not in the answer.
# shellcheck disable=SC2086
present=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' $wanted 2>/dev/null | sed -n 's/ installed$//p' || true)
missing=
for package in $wanted; do
    printf '%s\n' "$present" | grep -qxF "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "packages are missing and there is no sudo; as root: apt-get install$missing" >&2; exit 1; }
    echo "installing packages with sudo:$missing"
    # By name: what commands there are was looked up as the user who will need them.
    # shellcheck disable=SC2086
    exec sudo "$0" $missing
fi

echo "installing packages:$missing"
export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d
clusters=/etc/postgresql-common/createcluster.conf
made_policy=
kept_clusters=

undo() {
    [ -z "$made_policy" ] || rm -f "$policy"
    [ -z "$kept_clusters" ] || mv -f "$kept_clusters" "$clusters"
}
trap undo EXIT
trap 'exit 1' HUP INT TERM

get() {
    apt-get -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 -qq "$@"
}

# Debian starts the servers it installs; policy-rc.d is its way to say no (invoke-rc.d(8)).
if [ ! -e "$policy" ]; then
    made_policy=yes
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi

ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1 || get update
# Lists that are there but too old name files that are gone: fetch them and try once more.
install() {
    get install -y --no-install-recommends "$@" || { get update && get install -y --no-install-recommends "$@"; }
}

case " $missing " in
*" postgresql "*)
    # The package would create and start a cluster of its own: not while we install.
    install postgresql-common
    if ! grep -Eq '^[[:space:]]*create_main_cluster' "$clusters" 2>/dev/null; then
        kept_clusters=$clusters.coffre-kept
        cp -p "$clusters" "$kept_clusters" 2>/dev/null || : >"$kept_clusters"
        echo 'create_main_cluster = false' >>"$clusters"
    fi
    ;;
esac

# shellcheck disable=SC2086
install $missing
