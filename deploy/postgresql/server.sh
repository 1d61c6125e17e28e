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
            for role in postgres coffre_roster coffre_ledger coffre_sealer coffre_exporter coffre_admin; do
                echo "coffre $user $role"
            done
        done
    } | sort -u | write_file "$data/pg_ident.conf" 600
}

postgresql_up() {
    alive postgresql >/dev/null && return
    [ -n "$postgresql_programs" ] || fail "PostgreSQL is not installed: deploy/install-packages.sh"
    postgresql_configure
    postgresql_after_a_kill
    start postgresql "$postgresql_programs/postgres" -D "$home/postgresql/data"
    wait_for postgresql 120 postgresql_answers
}

# Of a postmaster that was killed, its processes may still be at work in the data folder, on a busy machine for seconds: until they are gone
# another one refuses to start. PostgreSQL recognises a stale postmaster.pid by itself, but takes a zombie (where no init reaps orphans)
# for a living postmaster: then its lock files go.
postgresql_after_a_kill() {
    local data=$home/postgresql/data pid state
    [ -s "$data/postmaster.pid" ] || return 0
    read -r pid <"$data/postmaster.pid"
    state=$(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null | cut -c1) || true # there is none any more
    case $state in Z | X | '') ;; *) return 0 ;; esac
    for _ in $(seq 600); do
        # Read to its end: where one side of a pipe ends early or cannot read a process that has just gone, pipefail would say that nobody is there.
        if ! as_user sh -c 'for cwd in /proc/[0-9]*/cwd; do readlink "$cwd"; done 2>/dev/null; true' | grep -xF "$data" >/dev/null; then
            [ "$state" != Z ] || as_user rm -f "$data/postmaster.pid" "$home"/postgresql/socket/.s.PGSQL.*
            return 0
        fi
        sleep 0.1
    done
    fail "processes of an earlier PostgreSQL are still at work in $data"
}

postgresql_answers() {
    as_user "$postgresql_programs/pg_isready" -q -h "$home/postgresql/socket"
}

postgresql_down() {
    stop postgresql INT 30
}
