#!/bin/bash
# Brings the stack of docker-compose.yml up on a Docker engine and uses it: deposits, extracts, verifies, scales ingest to two and
# takes one away. Needs a running engine, docker-compose and root. Leaves nothing running.
#   BUILD: where the host's own coffre-deposit, coffre-extract and coffre-verify are.
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
if ! docker image inspect debian:bookworm-slim >/dev/null 2>&1 && ! docker pull debian:bookworm-slim 2>/dev/null; then
    say "no debian:bookworm-slim here and no registry to ask: making it with debootstrap"
    command -v debootstrap >/dev/null || { echo "test-compose: debootstrap is not installed" >&2; exit 1; }
    debootstrap --variant=minbase bookworm "$work/root" >"$work/debootstrap.log" || { tail "$work/debootstrap.log" >&2; exit 1; }
    tar -C "$work/root" -c . | docker import - debian:bookworm-slim >/dev/null
fi
trap cleanup EXIT

say "secrets and development certificates"
deploy/docker/prepare.sh "$COFFRE_SECRETS"
pki=$COFFRE_SECRETS/pki

say "building the image and starting the stack"
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

deposit() { # PORT ARGS...
    local port=$1
    shift
    "$BUILD/coffre-deposit" --host localhost --port "$port" --certificate "$pki/sensor-1.pem" --key "$pki/sensor-1.key" --ca "$pki/trust.pem" "$@"
}
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

say "scaling ingest to two"
"${compose[@]}" up --detach --no-recreate --scale ingest=2 || fail "ingest does not scale"
wait_healthy ingest 2
deposit "$first_port" --client-id-prefix two-a --follow archived deploy/samples || fail "deposit on port $first_port"
deposit "$second_port" --client-id-prefix two-b --follow archived deploy/samples || fail "deposit on port $second_port"

say "one ingest is killed: the other goes on"
docker kill "$("${compose[@]}" ps -q ingest | head -n 1)" >/dev/null
deposit "$(live_port)" --client-id-prefix one-left --follow archived deploy/samples || fail "deposit after the loss of an instance"

say "extracting as the regulator, verifying offline"
"$BUILD/coffre-extract" --url "https://localhost:$COFFRE_HTTPS_PORT" --certificate "$pki/reader-1.pem" --key "$pki/reader-1.key" \
    --ca "$pki/trust.pem" --output "$work/extraction" lots 1- || fail "the extraction failed"
"$BUILD/coffre-verify" --ca "$pki/regulator-ca.pem" --key "$pki/regulator-encryption.key" "$work"/extraction/*.zip || fail "the verification failed"
say "the stack of docker-compose.yml works"
