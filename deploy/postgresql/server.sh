# A private PostgreSQL cluster: Unix socket only, whoever connects is recognised by the system user he is. Sourced by instance.sh.

postgresql_programs=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)

postgresql_configure() {
    local data=$home/postgresql/data
    as_user mkdir -p "$home/postgresql/socket"
    as_user chmod 700 "$home/postgresql"
    if [ ! -s "$data/PG_VERSION" ]; then
        # A cluster half made by an interrupted run is of no use to anyone.
        as_user rm -rf "$data"
        as_user "$postgresql_programs/initdb" -D "$data" -U postgres -E UTF8 --no-locale --auth=reject \
            >"$home/log/initdb.log" 2>&1 || not_ready initdb "failed"
    fi
    sed "s|@SOCKET@|$home/postgresql/socket|" "$here/postgresql/postgresql.conf" | write_file "$data/postgresql.conf" 600
    write_file "$data/pg_hba.conf" 600 <<<'local all all peer map=coffre'
    {
        # In development every duty runs as one system user; in production each has its own (see coffre.yml(5)).
        for user in "$run_user" root; do
            for role in postgres coffre_roster coffre_ledger coffre_sealer coffre_exporter; do
                echo "coffre $user $role"
            done
        done
    } | sort -u | write_file "$data/pg_ident.conf" 600
}

postgresql_up() {
    alive postgresql >/dev/null && return
    [ -n "$postgresql_programs" ] || fail "PostgreSQL is not installed: deploy/install-packages.sh"
    postgresql_configure
    # A stale postmaster.pid is recognised by the server itself, unless its number is another process of ours by now.
    start postgresql "$postgresql_programs/postgres" -D "$home/postgresql/data"
    wait_for postgresql 60 postgresql_answers
}

postgresql_answers() {
    as_user "$postgresql_programs/pg_isready" -q -h "$home/postgresql/socket"
}

postgresql_down() {
    stop postgresql INT 30
}
