#!/bin/bash
# The units of deploy/systemd under a real systemd, in a container whose first process it is, with Debian's RabbitMQ and PostgreSQL under their own units: start, an event's life,
# what is in the journal, reload, a crash, stop; and that the units' confinement and the daemons' own hold together. Needs a running engine and root. Leaves nothing running.
set -euo pipefail

cd "$(dirname "$0")/../.."
image=coffre-systemd
machine=coffre-test-systemd
daemons="coffre-ingest coffre-sealer coffre-exporter"
work=$(mktemp -d)

say() { printf '\n== %s\n' "$*"; }
on() { docker exec "$machine" "$@"; }
fail() {
    printf 'test-systemd: %s\n' "$*" >&2
    on systemctl --no-pager --failed >&2 || true
    on journalctl --no-pager -n 60 -o short-precise >&2 || true
    exit 1
}
trap 'docker rm -f "$machine" >/dev/null 2>&1; rm -rf "$work"' EXIT
same() { [ "$2" = "$3" ] || fail "$1: $2, not $3"; }

# What systemd says of a unit, in this order: state UNIT PROPERTY...
state() {
    local unit=$1 property
    shift
    for property in "$@"; do printf '%s ' "$(on systemctl show -P "$property" "$unit")"; done
}

# until_ TEXT COMMAND...: waits for it.
until_() {
    local text=$1
    shift
    for _ in $(seq 600); do
        "$@" >/dev/null 2>&1 && return
        sleep 0.1
    done
    fail "still not: $text"
}

docker info >/dev/null 2>&1 || { echo "test-systemd: no Docker engine answers (start dockerd)" >&2; exit 1; }
say "building the machine"
source tests/compose/base-image.sh
base_image "$work"
docker build --quiet --tag coffre --file deploy/docker/Dockerfile . >/dev/null || fail "the image does not build"
docker build --quiet --tag $image --file tests/systemd/Dockerfile . >/dev/null || fail "the machine does not build"
docker rm -f "$machine" >/dev/null 2>&1 || true
# systemd mounts, for units that see other files than the rest; nothing of the host is within its reach.
docker run --detach --name "$machine" --hostname vault --network none --cgroupns private --cap-add SYS_ADMIN --security-opt seccomp=unconfined --security-opt apparmor=unconfined \
    --tmpfs /run:mode=755,exec --tmpfs /run/lock --tmpfs /tmp:mode=1777 --shm-size 256m "$image" >/dev/null || fail "the machine does not start"
until_ "systemd is up" on sh -c 'case $(systemctl is-system-running) in running | degraded) ;; *) false ;; esac'
on systemd-analyze --man=no verify $(printf '/etc/systemd/system/%s.service ' $daemons) || fail "systemd finds fault with a unit"

say "users, keys, configurations, servers, the ceremony"
on sh /usr/local/share/coffre/prepare.sh || fail "the machine cannot be prepared"

say "starting the daemons"
on systemctl enable --now $daemons 2>/dev/null || fail "the units do not start"
for daemon in $daemons; do
    until_ "$daemon is ready" on runuser -u $daemon -- $daemon --config /etc/coffre/$daemon.yml --status
    same "$daemon" "$(state $daemon ActiveState SubState NRestarts)" "active running 0 "
    echo "$daemon is ready; exposure: $(on systemd-analyze security --no-pager $daemon | sed -n 's/.*Overall exposure level[^:]*: //p')"
done

say "an event's life"
client="--ca /root/pki/trust.pem"
deposit() { on coffre-deposit --host localhost --port 6163 --certificate /root/pki/sensor-1.pem --key /root/pki/sensor-1.key $client "$@"; }
docker cp -q deploy/samples "$machine:/root/samples" 2>/dev/null || docker cp deploy/samples "$machine:/root/samples" >/dev/null
deposit --follow archived /root/samples || fail "the deposit failed"
on coffre-extract --url https://localhost:443 --certificate /root/pki/reader-1.pem --key /root/pki/reader-1.key $client --output /root/extraction lots 1- || fail "the extraction failed"
on sh -c 'coffre-verify --ca /root/pki/regulator-ca.pem --key /root/pki/regulator-encryption.key /root/extraction/*.zip' || fail "the verification failed"

say "each process has the unit's user, no capability, its own filter beneath the unit's"
for daemon in $daemons; do
    parent=$(on systemctl show -P MainPID $daemon)
    for pid in $parent $(on pgrep -P "$parent"); do
        same "$daemon, process $pid" "$(on awk '/^(Uid|CapPrm|CapEff|CapAmb|NoNewPrivs|Seccomp):/ { printf "%s ", $2 }' "/proc/$pid/status")" \
            "$(on id -u $daemon) 0000000000000000 0000000000000000 0000000000000000 1 2 "
    done
done

say "the journal: a line for each record, with its priority; nobody killed or unconfined"
on journalctl --no-pager -u coffre-sealer -p warning -o cat >"$work/warnings.log"
grep -q "^[0-9].*level=warning .*code=clock-unchecked" "$work/warnings.log" || fail "a warning has no priority, or shows it"
! grep "level=info" "$work/warnings.log" || fail "what informs is a warning"
for daemon in $daemons; do
    on journalctl --no-pager -u $daemon -o cat >"$work/$daemon.log"
    grep -q "daemon=$daemon role=parent .*code=started" "$work/$daemon.log" || fail "$daemon has not said that it has started"
    ! grep -E "code=(landlock-absent|sandbox-off|sandbox-failed|role-confined|role-ended|role-hung|role-refuses|keys-unlocked)" "$work/$daemon.log" || fail "$daemon: see above"
done

say "reload"
for daemon in $daemons; do
    before=$(on systemctl show -P MainPID $daemon)
    on systemctl reload $daemon || fail "$daemon does not reload"
    until_ "$daemon says that it has reloaded" on sh -c "journalctl --no-pager -u $daemon -o cat | grep -q 'role=parent .*code=reloaded'"
    same "the process of $daemon" "$(on systemctl show -P MainPID $daemon)" "$before"
done

say "a list that revokes the sensor, put where the daemons read"
on sh -c 'sh /usr/local/share/coffre/pki.sh /root/pki revoke sensor-1 keyCompromise && cp /root/pki/crl/operator-ca.crl /etc/coffre/crl/new && mv /etc/coffre/crl/new /etc/coffre/crl/operator-ca.crl'
until_ "the sensor is refused" on sh -c "! coffre-deposit --host localhost --port 6163 --certificate /root/pki/sensor-1.pem --key /root/pki/sensor-1.key $client --retry 1 /root/samples"

say "a daemon that is killed is started again; one whose configuration is wrong is not"
on systemctl kill --kill-whom=main -s KILL coffre-ingest
until_ "coffre-ingest has been started again" on sh -c '[ "$(systemctl show -P NRestarts coffre-ingest)" = 1 ]'
until_ "coffre-ingest is ready again" on runuser -u coffre-ingest -- coffre-ingest --config /etc/coffre/coffre-ingest.yml --status
on sh -c 'cp /etc/coffre/coffre-exporter.yml /root/ && echo "nonsense: 1" >>/etc/coffre/coffre-exporter.yml'
on systemctl restart coffre-exporter || true
until_ "the exporter with a wrong configuration has ended" on sh -c '[ "$(systemctl show -P ActiveState coffre-exporter)" = failed ]'
same "the exporter with a wrong configuration" "$(state coffre-exporter ActiveState ExecMainStatus NRestarts)" "failed 78 0 "
on sh -c 'cp /root/coffre-exporter.yml /etc/coffre/ && systemctl reset-failed coffre-exporter && systemctl start coffre-exporter'
until_ "coffre-exporter is ready again" on runuser -u coffre-exporter -- coffre-exporter --config /etc/coffre/coffre-exporter.yml --status

say "stop: drained, nothing killed"
on systemctl stop $daemons || fail "the units do not stop"
for daemon in $daemons; do
    same "$daemon" "$(state $daemon ActiveState Result ExecMainStatus)" "inactive success 0 "
    on journalctl --no-pager -u $daemon -o cat | grep "role=parent .*code=stopped" | tail -n 1 | grep . || fail "$daemon did not drain"
done
say "the units work"
