# The vault's own part of an instance: PKI, configuration, the ceremony, the three daemons. Sourced by instance.sh.

daemons="coffre-ingest coffre-sealer coffre-exporter"
programs="$daemons coffre-ceremony coffre-deposit coffre-extract coffre-verify"

pki_up() {
    [ -s "$home/pki/trust.p12" ] || say "creating the development PKI in $RUN_DIR/pki"
    # The script may be out of the other user's reach, so it is handed over as text.
    as_user sh -s "$home/pki" <"$here/pki.sh" || fail "the PKI could not be created"
    as_user chmod 700 "$home/pki"
}

# Copies programs that changed; the daemons among them are stopped, to be started anew.
install_programs() {
    local name
    for name in $programs; do
        [ -x "$BUILD/$name" ] || fail "$BUILD/$name is not built: make"
        cmp -s "$BUILD/$name" "$home/bin/$name" && continue
        daemon_down "$name"
        install -m 755 "$BUILD/$name" "$home/bin/$name.new"
        mv -f "$home/bin/$name.new" "$home/bin/$name"
    done
}

# Where a daemon listens: loopback, in both families when the machine has both.
loopback() {
    printf '"127.0.0.1:%s"' "$1"
    ! grep -q '^0\{31\}1 ' /proc/net/if_inet6 2>/dev/null || printf ', "[::1]:%s"' "$1"
}

# Private keys and secrets in folders of their own, links where they were: a role may read the folders of the files it needs, and certificates
# are everybody's business. keys_apart FROM NAME...
keys_apart() {
    local from=$1 name
    shift
    for name in "$@"; do
        [ ! -L "$home/$from/$name.key" ] || continue
        as_user mkdir -p "$home/keys/$name"
        as_user chmod 700 "$home/keys" "$home/keys/$name"
        as_user mv "$home/$from/$name.key" "$home/keys/$name/$name.key"
        as_user ln -s "../keys/$name/$name.key" "$home/$from/$name.key"
    done
}

# Once: whoever tries other schemas changes them there.
schemas_up() {
    [ ! -d "$home/schemas" ] || return 0
    tar -C "$here/samples/schemas" -c . | as_user sh -c 'mkdir schemas.new && tar -x --no-same-owner -C schemas.new -f - && mv schemas.new schemas'
}

# The seal's memory in a folder of its own, since the roles that write it may write all of the folder. Of an earlier version it lies beside the status; itself is moved last.
memory_apart() {
    as_user mkdir -p "$home/state/seal"
    as_user test -e "$home/state/seal-memory" || return 0
    daemon_down coffre-sealer
    as_user sh -c 'cd "$1" && for f in seal-memory.* seal-memory; do [ ! -e "$f" ] || mv "$f" seal/ || exit; done' sh "$home/state" || fail "the seal's memory could not be moved"
}

configuration_up() {
    local before=
    secret_bytes pack.key 32
    secret_bytes dedup.key 32
    as_user mkdir -p "$home/certificates"
    keys_apart secrets pack dedup
    keys_apart pki ingest exporter coffre-ingest coffre-sealer coffre-exporter
    schemas_up
    memory_apart
    [ ! -s "$home/coffre.yml" ] || before=$(sha256sum <"$home/coffre.yml")
    sed -e "s|@OPERATOR@|$OPERATOR|g" -e "s|@VAULT@|$VAULT|g" -e "s|@STOMP@|$(loopback "$PORT_STOMP")|" \
        -e "s|@HTTPS@|$(loopback "$PORT_HTTPS")|" \
        -e "s|@PORT_AMQPS@|$PORT_AMQPS|" -e "s|@LOT_AGE@|$LOT_AGE|" -e "s|@FRONTS@|$FRONTS|" -e "s|@TOKEN@|$softhsm_token|" \
        -e "s|@MODULE@|$(softhsm_module)|" -e "s|@SOCKET@|$home/postgresql/socket|" \
        -e "s|@SCHEMA_POLICY@|$SCHEMA_POLICY|" -e "s|@SCHEMA_UNKNOWN@|$SCHEMA_UNKNOWN|" "$here/coffre.yml.in" | write_file "$home/coffre.yml" 600
    [ "$before" = "$(sha256sum <"$home/coffre.yml")" ] && return
    # A changed configuration is a new start.
    for daemon in $daemons; do
        daemon_down "$daemon"
    done
}

ceremony() {
    as_user "$home/bin/coffre-ceremony" "$@" --config "$home/coffre.yml" --yes >>"$home/log/ceremony.log" 2>&1 || {
        local status=$?
        # 3: done already, by a run that was interrupted later on.
        [ $status -eq 3 ] || not_ready ceremony "failed ($*)"
    }
}

# The birth of a vault, once; every step may be repeated after an interruption.
ceremony_up() {
    local name csr=$home/ceremony
    if [ -e "$home/ceremony/done" ]; then
        # The store may be of an earlier version.
        ceremony upgrade --database "host=$home/postgresql/socket user=postgres"
        return
    fi
    say "ceremony: keys in the token, certificates, genesis, roles"
    as_user mkdir -p "$csr"
    as_user touch "$home/log/ceremony.log"
    ceremony keys --csr-dir "$csr" --subject "/C=FR/O=Operateur $OPERATOR/OU=Coffre $VAULT"
    for name in seal tsa; do
        [ -s "$csr/$name.csr" ] || fail "the token holds keys but $RUN_DIR/ceremony/$name.csr is lost: remove $RUN_DIR and start anew"
        as_user test -s "$csr/$name.pem" ||
            as_user sh -s "$home/pki" sign "$name" "$csr/$name.csr" "$csr/$name.pem" <"$here/pki.sh" || fail "the regulator's authority did not sign $name.csr"
    done
    ceremony install --seal "$csr/seal.pem" --tsa "$csr/tsa.pem"
    ceremony genesis --create-database --database "host=$home/postgresql/socket user=postgres"
    bind_role depositor sensor-1
    bind_role depositor sensor-2
    bind_role reader reader-1
    bind_role technical tech-admin-1
    bind_role functional func-admin-1
    as_user touch "$csr/done"
}

bind_role() {
    ceremony bind --profile "$1" --certificate "$home/pki/$2.pem" --database "host=$home/postgresql/socket user=postgres"
}

# Another instance of a daemon beside the first, coffre-ingest@2: the same configuration, but for state_dir and ports (K - 1 higher).
daemon_configuration() {
    local k=${1#*@}
    [ "$k" != "$1" ] || { echo "$home/coffre.yml"; return; }
    if [ ! -d "$home/state-$k" ]; then
        as_user mkdir -m 700 "$home/state-$k"
    fi
    awk -v up=$((k - 1)) -v k="$k" '
        /^state_dir:/ { print "state_dir: state-" k; next }
        /^  listen:/ { while (match($0, /:[0-9]+"/)) {
                line = line substr($0, 1, RSTART) (substr($0, RSTART + 1, RLENGTH - 2) + up) "\""
                $0 = substr($0, RSTART + RLENGTH) }
            print line $0; line = ""; next }
        { print }' "$home/coffre.yml" | write_file "$home/coffre-$k.yml" 600
    echo "$home/coffre-$k.yml"
}

daemon_up() {
    local program=${1%@*} configuration
    alive "$1" >/dev/null && return
    configuration=$(daemon_configuration "$1")
    case $1 in
    coffre-ingest) port_free PORT_STOMP ;;
    coffre-exporter) port_free PORT_HTTPS ;;
    esac
    start "$1" "$home/bin/$program" --config "$configuration"
}

daemon_ready() {
    as_user "$home/bin/${1%@*}" --config "$(daemon_configuration "$1")" --status >/dev/null 2>&1
}

daemon_down() {
    stop "$1" TERM 40
}
