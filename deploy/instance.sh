#!/bin/bash
# One private instance of the vault and of its servers, under RUN_DIR (default run/). See `usage` below, and common.sh for the variables.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
source "$here/postgresql/server.sh"
source "$here/rabbitmq/server.sh"
source "$here/softhsm/token.sh"
source "$here/daemons.sh"
source "$here/demonstration.sh"

usage() {
    cat <<'END'
usage: deploy/instance.sh COMMAND      (make targets call it: make help)
  servers-up   PKI, PostgreSQL, RabbitMQ and a SoftHSM token, without daemons
  up           all of it, in the background; returns when everything is ready
  down         stop everything
  run          up, show an event's whole life, stay until Ctrl-C
  status       say what runs
  start|stop|restart|kill NAME   one of: postgresql rabbitmq coffre-ingest coffre-sealer coffre-exporter,
                                 or another instance of a daemon beside the first: coffre-ingest@2 (ports one higher)
  psql ARGS, rabbitmqctl ARGS    the servers' own tools, towards this instance
Variables: RUN_DIR PORT_STOMP PORT_HTTPS PORT_AMQPS PORT_EPMD PORT_DIST LOT_AGE FRONTS SCHEMA_POLICY SCHEMA_UNKNOWN BUILD OPERATOR VAULT RUN_USER
END
}

all="coffre-ingest coffre-sealer coffre-exporter rabbitmq epmd postgresql"

# One command at a time changes an instance.
lock() {
    exec 9>"$home/lock"
    flock -w 300 9 || fail "another command works on $RUN_DIR"
}

# Ports of running servers are what they are; others need a stop first.
remember_ports() {
    local now="PORT_STOMP=$PORT_STOMP PORT_HTTPS=$PORT_HTTPS PORT_AMQPS=$PORT_AMQPS PORT_EPMD=$PORT_EPMD PORT_DIST=$PORT_DIST" name
    if [ -s "$home/ports" ] && [ "$(cat "$home/ports")" != "$now" ]; then
        for name in $all; do
            alive "$name" >/dev/null && [ "$name" != postgresql ] &&
                fail "$RUN_DIR runs with other ports ($(cat "$home/ports")): stop it first with make down RUN_DIR=$RUN_DIR"
        done
    fi
    write_file "$home/ports" 644 <<<"$now"
}

servers_up() {
    remember_ports
    pki_up
    softhsm_up
    postgresql_up
    rabbitmq_up
}

everything_up() {
    servers_up
    install_programs
    configuration_up
    ceremony_up
    for daemon in coffre-sealer coffre-ingest coffre-exporter; do
        daemon_up $daemon
    done
    for daemon in coffre-sealer coffre-ingest coffre-exporter; do
        wait_for $daemon 120 daemon_ready $daemon
    done
}

stop_one() {
    case $1 in
    postgresql) postgresql_down ;;
    rabbitmq) rabbitmq_down ;;
    epmd) stop epmd TERM 5 ;;
    coffre-*) daemon_down "$1" ;;
    *) fail "nothing is called $1" ;;
    esac
}

start_one() {
    case $1 in
    postgresql) postgresql_up ;;
    rabbitmq) rabbitmq_up ;;
    coffre-*) daemon_up "$1" && wait_for "$1" 120 daemon_ready "$1" ;;
    *) fail "nothing is called $1" ;;
    esac
}

everything_down() {
    local name
    # Instances beside the first ones too: coffre-ingest@2.
    for name in $(ls "$home/pid" | grep @) $all; do
        stop_one "$name"
    done
}

where() {
    say "sensors:    failover:(ssl://localhost:$PORT_STOMP) for JMS, localhost:$PORT_STOMP over TLS for STOMP   (certificates in $RUN_DIR/pki, trust $RUN_DIR/pki/trust.pem)"
    say "regulator:  https://localhost:$PORT_HTTPS       (reader-1)"
    say "logs:       $RUN_DIR/log/"
}

status() {
    local name pid
    for name in $(ls "$home/pid" | grep @) $all; do
        if pid=$(alive "$name"); then say "$name: process $pid"; else say "$name: not running"; fi
    done
}

command=${1:-}
[ $# -eq 0 ] || shift
case $command in
servers-up | up | run | start | restart)
    place_home
    lock
    ;;
down | status | stop | kill | psql | rabbitmqctl)
    find_home || { say "nothing is in $RUN_DIR"; exit 0; }
    ;;
esac
# An instance keeps the ports it was started with, for those who look at it or restart a part of it.
case $command in
start | restart | stop | kill | status | rabbitmqctl) [ ! -s "$home/ports" ] || source "$home/ports" ;;
esac

case $command in
servers-up)
    servers_up
    say "PostgreSQL, RabbitMQ (port $PORT_AMQPS) and the token $softhsm_token are ready in $RUN_DIR"
    ;;
up)
    everything_up
    say "Coffre is ready: operator $OPERATOR, vault $VAULT."
    where
    ;;
down)
    lock
    everything_down
    say "everything in $RUN_DIR is stopped"
    ;;
run) run_demonstration ;;
status) status ;;
start) start_one "$1" ;;
stop) stop_one "$1" ;;
restart)
    stop_one "$1"
    start_one "$1"
    ;;
kill)
    pid=$(alive "$1") || fail "$1 does not run"
    end_now "$1" "$pid"
    ;;
psql) as_user psql -h "$home/postgresql/socket" -U postgres "$@" ;;
rabbitmqctl) rabbitmq_control "$@" ;;
help | -h | --help) usage ;;
*)
    usage >&2
    exit 2
    ;;
esac
