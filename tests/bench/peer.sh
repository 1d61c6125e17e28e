#!/bin/bash
# RabbitMQ with its own STOMP plugin, to compare with: same machine, same version, same kind of certificates, a quorum queue declared
# beforehand, nobody else on the node. Only for tests/bench/bench.py.
#   peer.sh up|down|purge|pid      Variables: RUN_DIR (a folder of its own), PORT_STOMP, PORT_EPMD, PORT_DIST
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/../../deploy/common.sh"
source "$here/rabbitmq/server.sh"

queue=bench

configure() {
    local dir=$home/rabbitmq
    as_user mkdir -p "$dir/data" "$home/pki"
    [ -s "$home/pki/sensor-1.pem" ] || as_user sh -s "$home/pki" <"$here/pki.sh"
    write_file "$dir/rabbitmq.conf" 600 <<END
listeners.tcp = none
stomp.listeners.tcp = none
stomp.listeners.ssl.1 = 127.0.0.1:$PORT_STOMP
stomp.ssl_cert_login = true
ssl_options.cacertfile = $home/pki/operator-ca.pem
ssl_options.certfile = $home/pki/ingest.pem
ssl_options.keyfile = $home/pki/ingest.key
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = true
ssl_options.versions.1 = tlsv1.3
ssl_options.versions.2 = tlsv1.2
auth_mechanisms.1 = EXTERNAL
ssl_cert_login_from = common_name
load_definitions = $dir/definitions.json
log.console = true
log.console.level = warning
log.file = false
disk_free_limit.absolute = 512MB
END
    write_file "$dir/definitions.json" 600 <<END
{"rabbit_version": "3.10.8", "vhosts": [{"name": "/"}],
 "users": [{"name": "sensor-1", "password_hash": "", "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": []}],
 "permissions": [{"user": "sensor-1", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}],
 "queues": [{"name": "$queue", "vhost": "/", "durable": true, "auto_delete": false, "arguments": {"x-queue-type": "quorum"}}]}
END
    write_file "$dir/enabled_plugins" 600 <<<'[rabbitmq_stomp,rabbitmq_auth_mechanism_ssl].'
}

up() {
    alive rabbitmq >/dev/null && return
    rabbitmq_environment
    configure
    if ! alive epmd >/dev/null; then
        port_free PORT_EPMD
        start epmd epmd -port "$PORT_EPMD" -address 127.0.0.1
        wait_for epmd 10 port_busy "$PORT_EPMD"
    fi
    port_free PORT_STOMP
    port_free PORT_DIST
    start rabbitmq "${rabbitmq_env[@]}" "$rabbitmq_programs/rabbitmq-server"
    wait_for rabbitmq 120 port_busy "$PORT_STOMP"
}

place_home
case ${1:-} in
up) up ;;
down) rabbitmq_down ;;
purge) rabbitmq_control -q purge_queue "$queue" ;;
pid) alive rabbitmq ;;
*)
    sed -n '2,4s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
