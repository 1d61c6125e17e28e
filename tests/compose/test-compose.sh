#!/bin/bash
# Brings the stack of docker-compose.yml up on a Docker engine and uses it: deposits, extracts, verifies, scales ingest to two and takes one away, revokes a sensor;
# and tries what its containers must not do. Needs a running engine, docker-compose and root. Leaves nothing running.
#   BUILD: where the host's own coffre-deposit, coffre-extract, coffre-verify and coffre-test-inject are.
set -euo pipefail

cd "$(dirname "$0")/../.."
BUILD=${BUILD:-build/release}
export COFFRE_SECRETS=${COFFRE_SECRETS:-$PWD/run-compose}
export COFFRE_STOMP_PORT=${COFFRE_STOMP_PORT:-36163-36164} COFFRE_HTTPS_PORT=${COFFRE_HTTPS_PORT:-38443}
first_port=${COFFRE_STOMP_PORT%%-*}
second_port=${COFFRE_STOMP_PORT##*-}
work=$(mktemp -d)
compose=(docker-compose --project-name coffre-test)

say() { printf '\n== %s\n' "$*"; }
fail() {
    printf 'test-compose: %s\n' "$*" >&2
    "${compose[@]}" ps >&2 || true
    "${compose[@]}" logs --tail 30 >&2 || true
    exit 1
}
cleanup() {
    "${compose[@]}" down --volumes --timeout 30 >"$work/down.log" 2>&1 || cat "$work/down.log" >&2
    rm -rf "$work" "$COFFRE_SECRETS"
}

docker info >/dev/null 2>&1 || { echo "test-compose: no Docker engine answers (start dockerd)" >&2; exit 1; }
command -v docker-compose >/dev/null || { echo "test-compose: docker-compose is not installed" >&2; exit 1; }
source tests/compose/base-image.sh
base_image "$work"
trap cleanup EXIT

say "secrets and development certificates"
deploy/docker/prepare.sh "$COFFRE_SECRETS"
pki=$COFFRE_SECRETS/pki

say "building the image and starting the stack"
# A run that was killed may have left volumes: a token with another PIN than the one just made.
"${compose[@]}" down --volumes --timeout 30 >"$work/down.log" 2>&1 || fail "what a run before left cannot be taken away: $(tail -n 3 "$work/down.log")"
"${compose[@]}" build --quiet || fail "the image does not build"
"${compose[@]}" up --detach || fail "the stack does not start"

healthy() { # SERVICE COUNT
    local id good=0
    for id in $("${compose[@]}" ps -q "$1"); do
        [ "$(docker inspect -f '{{.State.Health.Status}}' "$id")" = healthy ] && good=$((good + 1))
    done
    [ $good -eq "$2" ]
}
wait_healthy() {
    for _ in $(seq 120); do
        healthy "$1" "$2" && return
        sleep 1
    done
    fail "$1 is not healthy"
}
for service in postgresql rabbitmq ingest sealer exporter; do
    wait_healthy $service 1
    echo "$service is healthy"
done

deposit_as() { # SENSOR PORT ARGS...
    local sensor=$1 port=$2
    shift 2
    "$BUILD/coffre-deposit" --host localhost --port "$port" --certificate "$pki/$sensor.pem" --key "$pki/$sensor.key" --ca "$pki/trust.pem" "$@"
}
deposit() { deposit_as sensor-1 "$@"; }
# One published port of the range goes to the only instance there is.
live_port() {
    local port
    for port in $first_port $second_port; do
        timeout 5 openssl s_client -connect "localhost:$port" -cert "$pki/sensor-1.pem" -key "$pki/sensor-1.key" -CAfile "$pki/trust.pem" \
            -verify_return_error </dev/null >/dev/null 2>&1 && { echo "$port"; return; }
    done
    fail "no ingest answers on ports $COFFRE_STOMP_PORT"
}

say "depositing the sample events, following them until they are archived"
deposit "$(live_port)" --follow archived deploy/samples || fail "the deposit failed"

# ---- what containers may not -----------------------------------------------------------------------

# The process, as the host numbers it, of a role: role_of SERVICE DAEMON ROLE.
role_of() {
    local top
    top=$(docker inspect -f '{{.State.Pid}}' "$("${compose[@]}" ps -q "$1" | head -n 1)")
    pgrep --ns "$top" --nslist pid -f "^$2 --role $3 " | head -n 1
}
# What becomes of a system call that a role is made to execute: inject SERVICE DAEMON ROLE CALL ARGUMENT...
inject() {
    local pid
    pid=$(role_of "$1" "$2" "$3")
    [ -n "$pid" ] || fail "$1 has no role $3"
    "$BUILD/coffre-test-inject" "$pid" "${@:4}" | tail -n 1
}
same() { [ "$2" = "$3" ] || fail "$1: $2, not $3"; }

say "no process has a capability, or another user than the image's, or a root that can be written to"
for service in postgresql rabbitmq ingest sealer exporter; do
    id=$("${compose[@]}" ps -q $service)
    same "$service" "$(docker inspect -f '{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}} {{.HostConfig.Privileged}}' "$id")" \
        "true [ALL] [no-new-privileges:true] false"
    ! docker exec "$id" sh -c 'touch /usr/probe 2>/dev/null || touch /etc/probe 2>/dev/null' || fail "$service: the root can be written to"
    for pid in $(pgrep --ns "$(docker inspect -f '{{.State.Pid}}' "$id")" --nslist pid); do
        said=$(awk '/^(Uid|CapPrm|CapBnd|NoNewPrivs|Seccomp):/ { printf "%s ", $2 }' "/proc/$pid/status" 2>/dev/null) || continue
        [ -z "$said" ] || same "$service, $(tr '\0' ' ' <"/proc/$pid/cmdline")" "$said" "10001 0000000000000000 0000000000000000 1 2 "
    done
done

say "roles are confined in containers as elsewhere, by paths too (Landlock), under Docker's own filter"
"${compose[@]}" logs --no-color ingest sealer exporter >"$work/daemons.log"
! grep -E "code=(landlock-absent|sandbox-off)" "$work/daemons.log" || fail "Landlock does not work here"
same "the configuration, read by identity" "$(inject ingest coffre-ingest identity openat -100 s:/etc/coffre/coffre.yml 0)" "refused 13"
same "a certificate, read by identity" "$(inject ingest coffre-ingest identity openat -100 s:/run/secrets/operator-ca.pem 0 | cut -d' ' -f1)" "done"
same "the front's key, read by its own role" "$(inject ingest coffre-ingest keys openat -100 s:/run/keys/front/ingest.key 0 | cut -d' ' -f1)" "done"
same "the front's key, read by the ledger" "$(inject ingest coffre-ingest ledger openat -100 s:/run/keys/front/ingest.key 0)" "refused 13"
same "the key of packs, read by the keys role" "$(inject ingest coffre-ingest keys openat -100 s:/run/keys/pack/pack.key 0)" "refused 13"
same "the key towards RabbitMQ, read by identity" "$(inject exporter coffre-exporter identity openat -100 s:/run/keys/client/coffre-exporter.key 0)" "refused 13"
same "a socket, made by ingest's front" "$(inject ingest coffre-ingest front socket 2 1 0)" "killed 31"
same "a socket, made by the exporter's front" "$(inject exporter coffre-exporter front socket 2 1 0)" "killed 31"

say "the store and the broker are out of reach from where strangers come from, and from each other"
# Asked from containers of the same image: PostgreSQL's port and RabbitMQ's, by name.
reaches() { # NETWORK HOST PORT
    docker run --rm --network "coffre-test_$1" --entrypoint bash coffre -c "exec 3<>/dev/tcp/$2/$3" 2>/dev/null
}
reaches store postgresql 5432 || fail "PostgreSQL does not answer on its own network"
reaches broker rabbitmq 6163 || fail "RabbitMQ does not answer on its own network"
for pair in "outside postgresql 5432" "outside rabbitmq 6163" "broker postgresql 5432" "store rabbitmq 6163"; do
    # shellcheck disable=SC2086
    ! reaches $pair || fail "reached: $pair"
done
wait_healthy ingest 1
wait_healthy exporter 1

say "scaling ingest to two"
"${compose[@]}" up --detach --no-recreate --scale ingest=2 || fail "ingest does not scale"
wait_healthy ingest 2
deposit "$first_port" --client-id-prefix two-a --follow archived deploy/samples || fail "deposit on port $first_port"
deposit "$second_port" --client-id-prefix two-b --follow archived deploy/samples || fail "deposit on port $second_port"

say "one ingest is killed: the other goes on"
docker kill "$("${compose[@]}" ps -q ingest | head -n 1)" >/dev/null
deposit "$(live_port)" --client-id-prefix one-left --follow archived deploy/samples || fail "deposit after the loss of an instance"

say "a sensor is revoked: its session ends, it deposits nothing more, the others go on"
live=$(live_port)
mkfifo "$work/frames"
openssl s_client -quiet -connect "localhost:$live" -cert "$pki/sensor-2.pem" -key "$pki/sensor-2.key" -CAfile "$pki/trust.pem" <"$work/frames" >"$work/session" 2>&1 &
session=$!
exec 7>"$work/frames"
printf 'CONNECT\naccept-version:1.2\nhost:localhost\nheart-beat:0,0\n\n\0' >&7
for _ in $(seq 300); do
    grep -aq '^CONNECTED' "$work/session" && break
    sleep 0.1
done
grep -aq '^CONNECTED' "$work/session" || fail "sensor-2 has no session: $(cat "$work/session")"
sh deploy/pki.sh "$pki" revoke sensor-2 keyCompromise >/dev/null || fail "sensor-2 cannot be revoked"
for _ in $(seq 600); do
    kill -0 $session 2>/dev/null || break
    sleep 0.1
done
! kill -0 $session 2>/dev/null || fail "the session of sensor-2 goes on"
exec 7>&-
grep -a "revoked" "$work/session" || fail "sensor-2 was not told why: $(cat "$work/session")"
! deposit_as sensor-2 "$live" --retry 1 deploy/samples >"$work/refused" 2>&1 || fail "sensor-2 deposits"
deposit "$live" --client-id-prefix not-revoked --follow archived deploy/samples || fail "sensor-1 does not deposit"
"${compose[@]}" logs --no-color ingest >"$work/ingest.log"
grep -q 'code=session-cut .*cn="sensor-2"' "$work/ingest.log" || fail "the log does not say it"

say "extracting as the regulator, verifying offline"
"$BUILD/coffre-extract" --url "https://localhost:$COFFRE_HTTPS_PORT" --certificate "$pki/reader-1.pem" --key "$pki/reader-1.key" \
    --ca "$pki/trust.pem" --output "$work/extraction" lots 1- || fail "the extraction failed"
"$BUILD/coffre-verify" --ca "$pki/regulator-ca.pem" --key "$pki/regulator-encryption.key" "$work"/extraction/*.zip || fail "the verification failed"
say "the stack of docker-compose.yml works"
