# A private RabbitMQ node: TLS and certificates only, loopback only, its own epmd. Sourced by instance.sh.

rabbitmq_programs=$(ls -d /usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin 2>/dev/null | sort -V | tail -n 1)

rabbitmq_definitions() { sed "s|@N@|$VAULT|g" "$here/rabbitmq/definitions.json"; }

# A node reads its definitions when it starts; one that runs already is told what is new in them.
rabbitmq_renew() {
    local file=$home/rabbitmq/definitions.json
    rabbitmq_definitions | cmp -s - "$file" && return
    rabbitmq_definitions | write_file "$file.next" 600
    rabbitmq_control -q import_definitions "$file.next" && as_user mv -f "$file.next" "$file"
}

rabbitmq_configure() {
    local dir=$home/rabbitmq
    as_user mkdir -p "$dir/data"
    as_user chmod 700 "$dir"
    sed -e "s|@PKI@|$home/pki|g" -e "s|@DEFINITIONS@|$dir/definitions.json|" -e "s|@LISTEN@|127.0.0.1:$PORT_AMQPS|" \
        "$here/rabbitmq/rabbitmq.conf" | write_file "$dir/rabbitmq.conf" 600
    rabbitmq_definitions | write_file "$dir/definitions.json" 600
    write_file "$dir/advanced.config" 600 <"$here/rabbitmq/advanced.config"
    write_file "$dir/enabled_plugins" 600 <<<'[rabbitmq_auth_mechanism_ssl].'
}

# The environment that keeps a node and its tools inside the folder. RUNNING_UNDER_SYSTEMD: no shell script stays between us and the node.
# +sbwt: idle schedulers sleep instead of spinning; on a machine shared with the daemons the spinning costs a quarter of RabbitMQ's time and more.
rabbitmq_environment() {
    rabbitmq_env=(env HOME="$home/rabbitmq" RABBITMQ_NODENAME=coffre@localhost RABBITMQ_CONFIG_FILE="$home/rabbitmq/rabbitmq.conf"
        RABBITMQ_ADVANCED_CONFIG_FILE="$home/rabbitmq/advanced.config"
        RABBITMQ_ENABLED_PLUGINS_FILE="$home/rabbitmq/enabled_plugins" RABBITMQ_MNESIA_BASE="$home/rabbitmq/data"
        RABBITMQ_LOG_BASE="$home/log" RABBITMQ_LOGS=- RABBITMQ_PID_FILE="$home/rabbitmq/pid" RABBITMQ_DIST_PORT="$PORT_DIST"
        RABBITMQ_CONF_ENV_FILE=/dev/null RABBITMQ_NODE_IP_ADDRESS= ERL_EPMD_PORT="$PORT_EPMD" ERL_EPMD_ADDRESS=127.0.0.1
        ERL_CRASH_DUMP=/dev/null RUNNING_UNDER_SYSTEMD=yes RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none")
}

rabbitmq_up() {
    if alive rabbitmq >/dev/null; then
        rabbitmq_renew
        return
    fi
    [ -n "$rabbitmq_programs" ] || fail "RabbitMQ is not installed: deploy/install-packages.sh"
    rabbitmq_environment
    rabbitmq_configure
    if ! alive epmd >/dev/null; then
        port_free PORT_EPMD
        start epmd epmd -port "$PORT_EPMD" -address 127.0.0.1
        wait_for epmd 60 port_busy "$PORT_EPMD"
    fi
    port_free PORT_AMQPS
    port_free PORT_DIST
    start rabbitmq "${rabbitmq_env[@]}" "$rabbitmq_programs/rabbitmq-server"
    wait_for rabbitmq 120 port_busy "$PORT_AMQPS"
}

# The Erlang machine writes it all down before it leaves.
rabbitmq_down() {
    stop rabbitmq TERM 60
    stop epmd TERM 5
}

rabbitmq_control() {
    rabbitmq_environment
    as_user "${rabbitmq_env[@]}" "$rabbitmq_programs/rabbitmqctl" "$@"
}
