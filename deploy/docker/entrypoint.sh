#!/bin/sh
# What a container of the image does: one of the servers, the ceremony, or any of the programs.
set -eu

share=/usr/local/share/coffre
lib=/var/lib/coffre
secrets=/run/secrets
vault=${COFFRE_VAULT:-1}

postgresql() {
    programs=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
    data=$lib/postgresql/data
    if [ ! -s "$data/PG_VERSION" ]; then
        rm -rf "$data"
        "$programs/initdb" -D "$data" -U postgres -E UTF8 --no-locale --auth=reject >/dev/null
    fi
    sed "s|@SOCKET@|$lib/postgresql-socket|" $share/postgresql/postgresql.conf >"$data/postgresql.conf"
    # The ceremony comes by the socket; daemons come by TLS, and their certificates' CN says which duties they may take.
    cat >"$data/pg_hba.conf" <<END
local   all all     peer map=coffre
hostssl all all all cert map=coffre
END
    cat >"$data/pg_ident.conf" <<END
coffre coffre          postgres
coffre coffre-ingest   coffre_ledger
coffre coffre-ingest   coffre_roster
coffre coffre-sealer   coffre_sealer
coffre coffre-exporter coffre_exporter
coffre coffre-exporter coffre_admin
END
    exec "$programs/postgres" -D "$data" -c listen_addresses='*' -c ssl=on -c ssl_min_protocol_version=TLSv1.2 \
        -c ssl_ca_file=$secrets/internal-ca.pem -c ssl_cert_file=$secrets/postgresql.pem -c ssl_key_file=$secrets/postgresql.key
}

rabbitmq() {
    dir=$lib/rabbitmq
    programs=$(ls -d /usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin | sort -V | tail -n 1)
    mkdir -p "$dir/data"
    sed -e "s|@PKI@|$secrets|g" -e "s|@DEFINITIONS@|$dir/definitions.json|" -e "s|@LISTEN@|0.0.0.0:6163|" \
        $share/rabbitmq/rabbitmq.conf >"$dir/rabbitmq.conf"
    sed "s|@N@|$vault|g" $share/rabbitmq/definitions.json >"$dir/definitions.json"
    echo '[rabbitmq_auth_mechanism_ssl].' >"$dir/enabled_plugins"
    exec env HOME="$dir" RABBITMQ_NODENAME=coffre@localhost RABBITMQ_CONFIG_FILE="$dir/rabbitmq.conf" \
        RABBITMQ_ADVANCED_CONFIG_FILE=$share/rabbitmq/advanced.config \
        RABBITMQ_ENABLED_PLUGINS_FILE="$dir/enabled_plugins" RABBITMQ_MNESIA_BASE="$dir/data" RABBITMQ_LOG_BASE=/tmp \
        RABBITMQ_LOGS=- RABBITMQ_PID_FILE=/tmp/rabbitmq.pid RABBITMQ_CONF_ENV_FILE=/dev/null RABBITMQ_NODE_IP_ADDRESS= \
        ERL_EPMD_ADDRESS=127.0.0.1 ERL_CRASH_DUMP=/dev/null RUNNING_UNDER_SYSTEMD=yes \
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1}' "$programs/rabbitmq-server"
}

step() { # a step of the ceremony; status 3: done by an earlier run
    coffre-ceremony "$@" --config /etc/coffre/coffre.yml --yes || [ $? -eq 3 ]
}

# The birth of a development vault: the regulator's authority is at hand (/pki), as it never is in life.
ceremony() {
    token=coffre-$COFFRE_OPERATOR-$vault
    work=$lib/sealer/ceremony
    database="host=$lib/postgresql-socket user=postgres"
    mkdir -p "$lib/sealer/seal"
    # Of an earlier version it lies beside the certificates; the memory itself is moved last.
    if grep -q "memory: $lib/sealer/seal/memory" /etc/coffre/coffre.yml; then
        for file in memory.time memory.lock memory.pin-refused memory.pin-taken memory; do
            [ ! -f "$lib/sealer/$file" ] || mv "$lib/sealer/$file" "$lib/sealer/seal/"
        done
    fi
    if [ -e "$work/done" ]; then
        echo "the ceremony took place already"
        step upgrade --database "$database" # of an earlier version, perhaps
        return
    fi
    mkdir -p "$work"
    if ! softhsm2-util --show-slots | grep -q "^ *Label: *$token *$"; then
        # PINs never on a command line: softhsm2-util reads them from a terminal.
        for pin in hsm-so-pin hsm-so-pin hsm-pin hsm-pin; do
            cat "/run/keys/pin/$pin"
        done | script -qec "softhsm2-util --init-token --free --label $token" /dev/null >/dev/null
    fi
    step keys --csr-dir "$work" --subject "/C=FR/O=Operateur $COFFRE_OPERATOR/OU=Coffre $vault"
    for name in seal tsa; do
        [ -s "$work/$name.pem" ] || sh $share/pki.sh /pki sign "$name" "$work/$name.csr" "$work/$name.pem"
    done
    step install --seal "$work/seal.pem" --tsa "$work/tsa.pem"
    step genesis --create-database --database "$database"
    for role in depositor:sensor-1 depositor:sensor-2 reader:reader-1 technical:tech-admin-1 functional:func-admin-1; do
        step bind --profile "${role%%:*}" --certificate "/pki/${role#*:}.pem" --database "$database"
    done
    touch "$work/done"
}

case ${1:-} in
postgresql | rabbitmq | ceremony) "$1" ;;
*) exec "$@" ;;
esac
