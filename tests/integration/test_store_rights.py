#!/usr/bin/python3
"""What each PostgreSQL role may do with every table, column, view, sequence and function of the store: tried, as that role, against the list written here.
A right that is not in the list fails, as one that is missing does.
"""
import os
import re
import sys

sys.path.insert(0, os.path.dirname(__file__))
import psycopg2
from coffre import *

# The front of any daemon has no role here. Nobody deletes, truncates, or owns anything.
EXPECTED = """
coffre_roster   override_in_force   SELECT(*)
coffre_roster   role                SELECT(*)
coffre_roster   vault               SELECT(format number operator)

coffre_ledger   event               INSERT(*) SELECT(deposit depositor lot serial)
coffre_ledger   head                SELECT(*) UPDATE(ledger_epoch lot_bytes lot_events lot_first_at next_serial)
coffre_ledger   lot                 SELECT(closed_at first_serial lot)
coffre_ledger   lot_key             INSERT(*) SELECT(lot ordinal)
coffre_ledger   quarantine          INSERT(*) SELECT(deposit)
coffre_ledger   role                SELECT(*)
coffre_ledger   vault               SELECT(format number operator)
coffre_ledger   close_lot           EXECUTE
coffre_ledger   ledger_deduplicates EXECUTE

coffre_sealer   announcement        INSERT(*) SELECT(*) UPDATE(announced_at)
coffre_sealer   event               SELECT(lot serial sha256 size type)
coffre_sealer   head                SELECT(*) UPDATE(close_asked sealer_epoch)
coffre_sealer   health              INSERT(*) SELECT(*) UPDATE(*)
coffre_sealer   lot                 SELECT(*) UPDATE(container container_crc32 container_sha256 container_size sealed_at signature_digest signatures)
coffre_sealer   lot_key             SELECT(lot ordinal sha256)
coffre_sealer   operation           SELECT(ended_at)
coffre_sealer   role                SELECT(*)
coffre_sealer   vault               SELECT(*)
coffre_sealer   close_lot           EXECUTE

coffre_exporter event               SELECT(*)
coffre_exporter extraction          INSERT(*) SELECT(*)
coffre_exporter extraction_segment  INSERT(*) SELECT(*)
coffre_exporter head                SELECT(*)
coffre_exporter health              SELECT(*)
coffre_exporter lot                 SELECT(*)
coffre_exporter lot_key             SELECT(*)
coffre_exporter operation           SELECT(*)
coffre_exporter override_in_force   SELECT(*)
coffre_exporter role                SELECT(*)
coffre_exporter vault               SELECT(*)
coffre_exporter operation_ask       EXECUTE

coffre_admin    operation           SELECT(*)
coffre_admin    override            SELECT(*)
coffre_admin    override_in_force   SELECT(*)
coffre_admin    quorum              SELECT(*)
coffre_admin    role                SELECT(*)
coffre_admin    role_change         SELECT(*)
coffre_admin    role_outbox         SELECT(*)
coffre_admin    vault               SELECT(format number operator)
coffre_admin    role_decide         EXECUTE
coffre_admin    role_expire         EXECUTE
coffre_admin    role_journaled      EXECUTE
coffre_admin    role_propose        EXECUTE
coffre_admin    role_require        EXECUTE
"""
ROLES = sorted({line.split()[0] for line in EXPECTED.split("\n") if line})
REFUSED = (psycopg2.errors.InsufficientPrivilege,)


def relations():
    """{name: (kind, [columns])} of tables, views and sequences."""
    return {name: (kind, columns) for name, kind, columns in query(
        "SELECT relname, relkind::text, array_agg(attname::text ORDER BY attname) FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped "
        "WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f') GROUP BY relname, relkind")}


def functions():
    """[(name, arguments' types, returns trigger)]."""
    return query("SELECT proname::text, ARRAY(SELECT t::regtype::text FROM unnest(proargtypes) t), prorettype = 'trigger'::regtype FROM pg_proc "
                 "WHERE pronamespace = 'public'::regnamespace ORDER BY 1")


class As:
    """Tries statements as a role. `alone`: each outside of a transaction, which some need; else nothing of it stays."""

    def __init__(self, role, alone=False):
        self.role = role
        self.connection = database(role)
        self.connection.autocommit = alone

    def may(self, sql, other=()):
        """Whether PostgreSQL lets it; errors of other kinds are no right either when they are named."""
        with self.connection.cursor() as cursor:
            try:
                cursor.execute(sql)
                return True
            except (*REFUSED, *other):
                return False
            finally:
                self.connection.rollback()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()


def may_column(who, sql, name, kind, column, act):
    if kind == "v" and act != "SELECT": # what a view stands for may forbid it before rights are looked at
        return value("SELECT has_column_privilege(%s, %s, %s, %s)", who.role, name, column, act)
    return who.may(sql.format(t=name, c=column))


def of_table(who, name, kind, columns):
    """Rights are checked when a statement begins: EXPLAIN is enough, and does nothing."""
    statements = {"SELECT": "EXPLAIN SELECT {c} FROM {t}", "INSERT": "EXPLAIN INSERT INTO {t} ({c}) VALUES (DEFAULT)", "UPDATE": "EXPLAIN UPDATE {t} SET {c} = DEFAULT"}
    found = {}
    for act, sql in statements.items():
        if kind != "S" or act == "SELECT":
            held = [c for c in columns if may_column(who, sql, name, kind, c, act)]
            if held:
                found[act] = "*" if held == columns else " ".join(held)
    rights = [f"{act}({held})" for act, held in sorted(found.items())]
    if kind == "S":
        rights += [act for act, sql in (("USAGE", f"SELECT nextval('{name}')"), ("UPDATE", f"SELECT setval('{name}', 1)")) if who.may(sql)]
    else:
        rights += ["DELETE"] if who.may(f"EXPLAIN DELETE FROM {name}") else []
        rights += ["TRUNCATE"] if who.may(f"TRUNCATE {name} CASCADE", (psycopg2.errors.WrongObjectType,)) else []
        rights += ["LOCK"] if who.may(f"LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE") and not {"UPDATE(*)"} & set(rights) else []
    return " ".join(rights)


def rights_of(role):
    found = []
    with As(role) as who:
        for name, (kind, columns) in relations().items():
            rights = of_table(who, name, kind, columns)
            if rights:
                found.append((role, name, rights))
        for name, types, is_trigger in functions():
            if is_trigger:
                # Not callable; a right to it would let its holder make triggers of it.
                held = value("SELECT bool_or(has_function_privilege(%s, oid, 'EXECUTE')) FROM pg_proc WHERE proname = %s AND pronamespace = 'public'::regnamespace", role, name)
            else:
                held = who.may(f"EXPLAIN SELECT {name}({', '.join(f'NULL::{t}' for t in types)})")
            if held:
                found.append((role, name, "EXECUTE"))
    return found


def test_every_right_of_every_role_is_in_the_list_and_works():
    expected = {tuple(re.split(r"\s+", line, maxsplit=2)) for line in EXPECTED.split("\n") if line}
    found = {right for role in ROLES for right in rights_of(role)}
    assert found == expected, f"too many: {sorted(found - expected)}; missing: {sorted(expected - found)}"


def test_there_are_no_other_roles_and_these_are_nobody_special():
    rows = query("SELECT rolname, rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls, rolcanlogin FROM pg_roles WHERE rolname LIKE 'coffre%%'")
    assert sorted(name for name, _, _ in rows) == ROLES, rows
    assert all(not special and logs_in for _, special, logs_in in rows), rows
    assert query("SELECT 1 FROM pg_auth_members WHERE member::regrole::text LIKE 'coffre%%' OR roleid::regrole::text LIKE 'coffre%%'") == []
    assert query("SELECT * FROM pg_default_acl") == []
    owned = query("SELECT classid::regclass::text, objid FROM pg_shdepend WHERE deptype = 'o' AND refclassid = 'pg_authid'::regclass AND refobjid::regrole::text LIKE 'coffre%%'")
    assert owned == [], owned


def test_what_everybody_may_is_nothing():
    acls = "SELECT '{0}', {1}::text, privilege_type FROM pg_{0}, aclexplode(coalesce({2}, acldefault('{3}', {4}))) WHERE grantee = 0 AND {5}"
    open_ = [row for parts in (("class", "relname", "relacl", "r", "relowner", "relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f')"),
                               ("class", "relname", "relacl", "s", "relowner", "relnamespace = 'public'::regnamespace AND relkind = 'S'"),
                               ("proc", "proname", "proacl", "f", "proowner", "pronamespace = 'public'::regnamespace"),
                               ("namespace", "nspname", "nspacl", "n", "nspowner", "nspname = 'public'"),
                               ("database", "datname", "datacl", "d", "datdba", "datname = current_database()"))
             for row in query(acls.format(*parts))]
    assert open_ == [], open_
    columns = query("SELECT attrelid::regclass::text, attname FROM pg_attribute, aclexplode(attacl) WHERE grantee = 0 AND attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)")
    assert columns == [], columns


def test_functions_look_for_names_where_their_owner_says():
    for name, path in query("SELECT proname, array_to_string(proconfig, ';') FROM pg_proc WHERE pronamespace = 'public'::regnamespace"):
        assert path == "search_path=pg_catalog, public, pg_temp", (name, path)


NEVER = ["CREATE TABLE mine (a int)", "CREATE TABLE public.mine (a int)", "CREATE TEMP TABLE mine (a int)", "SELECT 1 AS a INTO TEMP mine", "CREATE TEMP VIEW mine AS SELECT 1",
         "CREATE SCHEMA mine", "CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'", "CREATE FUNCTION pg_temp.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
         "CREATE EXTENSION dblink", "CREATE ROLE mine", "CREATE DATABASE mine", "CREATE TABLESPACE mine LOCATION '/tmp'", "CREATE PUBLICATION mine",
         "CREATE EVENT TRIGGER mine ON ddl_command_start EXECUTE FUNCTION refuse_rewriting()", "CREATE TRIGGER mine BEFORE INSERT ON role EXECUTE FUNCTION refuse_rewriting()",
         "CREATE INDEX mine ON event (size)", "CREATE RULE mine AS ON INSERT TO role DO INSTEAD NOTHING", "CREATE POLICY mine ON role", "COMMENT ON TABLE role IS 'mine'",
         "ALTER TABLE role ADD COLUMN mine int", "ALTER TABLE role DISABLE TRIGGER ALL", "ALTER TABLE role OWNER TO CURRENT_USER", "ALTER FUNCTION close_lot(text) SECURITY INVOKER",
         "ALTER FUNCTION close_lot(text) SET search_path = mine", "ALTER VIEW override_in_force RENAME TO mine", "ALTER SYSTEM SET fsync = off", "DROP TABLE role", "DROP FUNCTION close_lot(text)",
         "DROP SCHEMA public CASCADE", "ALTER ROLE CURRENT_USER SUPERUSER", "ALTER ROLE postgres PASSWORD 'x'", "SET session_replication_role = replica", "SET zero_damaged_pages = on",
         "SET ROLE postgres", "SET SESSION AUTHORIZATION postgres", "SET ROLE pg_read_all_data", "SET ROLE pg_execute_server_program",
         "SELECT pg_read_file('postgresql.conf')", "SELECT pg_read_binary_file('PG_VERSION')", "SELECT pg_ls_dir('.')", "SELECT pg_stat_file('PG_VERSION')", "SELECT pg_reload_conf()",
         "SELECT pg_switch_wal()", "SELECT pg_create_restore_point('mine')", "SELECT rolpassword FROM pg_authid", "SELECT pg_promote()", "CHECKPOINT", "LOAD 'dblink'",
         "COPY role TO PROGRAM 'cat'", "COPY role FROM PROGRAM 'cat'", "COPY role TO '/tmp/mine'", "COPY role FROM '/etc/passwd'", "COPY (SELECT 1) TO PROGRAM 'id'", "COPY (SELECT 1) TO '/tmp/mine'",
         "SELECT lo_creat(-1)", "SELECT lo_create(0)", "SELECT lo_from_bytea(0, 'x')", "SELECT lo_put(1, 0, 'x')", "SELECT lo_get(1)", "SELECT lo_open(1, 131072)", "SELECT lo_unlink(1)",
         "SELECT lo_truncate(0, 0)", "SELECT lowrite(0, 'x')", "SELECT lo_import('/etc/passwd')", "SELECT lo_export(1, '/tmp/mine')"]
# What is said instead of "permission denied": one must own it, or the thing is not there to be seen.
ALSO = (psycopg2.errors.UndefinedFile, psycopg2.errors.InvalidSchemaName)


def test_nothing_else_of_postgresql_is_open_to_them():
    for role in ROLES:
        with As(role, alone=True) as who:
            held = [sql for sql in [*NEVER, *(f"SET ROLE {other}" for other in ROLES if other != role), *(f"SET SESSION AUTHORIZATION {other}" for other in ROLES if other != role)]
                    if who.may(sql, ALSO)]
            assert held == [], f"{role} may: {held}"


def test_advisory_locks_are_of_those_who_take_turns():
    names = [name for name, in query("SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND proname LIKE '%%advisory%%' AND proname NOT LIKE '%%unlock%%'")]
    assert len(names) >= 8, names
    for role in ROLES:
        with As(role, alone=True) as who:
            may = [name for name in names if who.may(f"SELECT {name}(7, 7)", ALSO)]
            assert sorted(may) == (sorted(names) if role in ("coffre_ledger", "coffre_sealer", "coffre_admin") else []), (role, may)


def test_nobody_hands_on_what_he_has():
    """GRANT by who may not is only a warning: what counts is what it left."""
    acl = "SELECT array_agg((relname, relacl::text) ORDER BY relname) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    before = value(acl)
    for role in ROLES:
        for sql in ("GRANT SELECT ON role TO PUBLIC", "GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC", f"GRANT {role} TO PUBLIC"):
            try:
                query(sql, role=role)
            except psycopg2.Error:
                pass
    assert value(acl) == before and query("SELECT 1 FROM pg_auth_members WHERE roleid::regrole::text LIKE 'coffre%%'") == []


def test_only_a_role_of_the_vault_comes_into_its_database():
    query("DROP ROLE IF EXISTS coffre_test_stranger")
    query("CREATE ROLE coffre_test_stranger LOGIN")
    try:
        for act in ("CONNECT", "TEMPORARY", "CREATE"):
            assert not value("SELECT has_database_privilege('coffre_test_stranger', current_database(), %s)", act), act
    finally:
        query("DROP ROLE coffre_test_stranger")


if __name__ == "__main__":
    run(globals())
