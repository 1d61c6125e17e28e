#!/usr/bin/python3
"""Role bindings: changed by functional administrators and the ceremony only, by a second person where it is wanted, with their history; overrides of revocation.

An exporter beside the instance's own asks for two people (roles.quorum 2); everybody's certificates are made here.
"""
import contextlib
import os
import signal
import socket
import sys

import psycopg2

sys.path.insert(0, os.path.dirname(__file__))
from holders import *

REGULATOR = "/C=FR/O=Regulateur de developpement"
FUNCTIONAL_1 = f"{REGULATOR}/OU=Administrateurs fonctionnels/CN=func-admin-1"
ROLES, CHANGES = "/v1/admin/roles", "/v1/admin/changes"
HERE = r"^(127\.0\.0\.1|::1)$"


def send(path, content, who="func-admin-1", at=None):
    """POST: (status, answer, Location)."""
    line = ["-X", "POST", "-D", "/dev/stderr", "-H", "Content-Type: application/json", "--data-binary", json.dumps(content)]
    done = subprocess.run(["curl", "-sS", "--http1.1", "--cacert", PKI / "trust.pem", "--cert", PKI / f"{who}.pem", "--key", PKI / f"{who}.key", *line,
                           f"https://localhost:{at or port('HTTPS')}{path}"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    heads = [head for head in done.stderr.replace("\r", "").split("\n\n") if head.startswith("HTTP/1.1") and " 100 " not in head.splitlines()[0]]
    fields = dict(row.lower().split(": ", 1) for row in heads[-1].splitlines()[1:])
    return int(heads[-1].split()[1]), json.loads(done.stdout), fields.get("location")


def get(path, who="func-admin-1", at=None):
    status, answer = curl(path, who, at)
    assert status == 200, (path, status, answer)
    return answer


def everything(path, name):
    """All pages of a list."""
    found, after = [], 0
    while after is not None:
        page = get(f"{path}{'&' if '?' in path else '?'}limit=7&after={after}")
        found += page[name]
        after = page["next_after"]
    return found


def refused(answer, status, code):
    assert (answer[0], answer[1]["code"]) == (status, code) and answer[1]["reason"], answer


def new(prefix="essai", ou="Essais", **options):
    """A certificate of the regulator's authority, bound to nothing: its name, which is its CN."""
    name = short(prefix)
    return issue(name, ca="regulator-ca", subject=f"{REGULATOR}/OU={ou}/CN={name}", **options)


def named(name, profile="reader", ou="Essais", **more):
    return {"profile": profile, "cn": name, "ou": ou, "reason": "pour l'essai", **more}


def roles_of(cn, all=True):
    return [role for role in everything(ROLES + ("?all=true" if all else ""), "roles") if role["cn"] == cn]


def in_force(cn):
    return value("SELECT count(*) FROM role WHERE cn = %s AND revoked_at IS NULL", cn)


# Two administrators and an exporter that wants them both. The first one has a second certificate of the same subject.
second = new("admin", "Administrateurs fonctionnels")
twin = issue(short("jumeau"), ca="regulator-ca", subject=FUNCTIONAL_1)


def people():
    return value("SELECT people FROM quorum")


def agreed(*words):
    """What the ceremony does, with a functional administrator's word where two people are needed."""
    done = ceremony(*words)
    change = re.search(r"^proposed: change (\d+)", done.stdout, re.M)
    if change:
        status, answer, _ = send(f"{CHANGES}/{change[1]}/approval", {"reason": "vu"})
        assert status == 200, answer


@contextlib.contextmanager
def pair():
    """An exporter that asks for two people, and the second one. From then on the store does, until two agree otherwise."""
    bind(second, "functional")
    try:
        with exporter(roles__quorum=2) as two:
            answers(second, 200, at=two.port)
            wait_until(lambda: people() == 2, SOON, "the store remembers that two are needed")
            yield two
    finally:
        if people() == 2:
            agreed("quorum", "1", "--reason", "fin de l'essai")
        ceremony("revoke", "--profile", "functional", "--certificate", PKI / f"{second}.pem", check=False)


def test_one_person_is_enough_unless_two_are_wanted():
    name = new("lecteur")
    answers(name, 403, "not-bound")
    with Journal() as journal:
        status, role, _ = send(ROLES, named(name))
        assert status == 201 and role["cn"] == name and role["revoked_at"] is None, role
        answers(name, 200)
        assert roles_of(name, all=False) == [role]
        refused(send(ROLES, named(name)), 409, "bound-already")
        status, gone, _ = send(f"{ROLES}/{role['id']}/revocation", {"reason": "fin de l'essai"})
        assert status == 200 and gone["revoked_at"], gone
        answers(name, 403, "not-bound")
        assert roles_of(name, all=False) == [] and roles_of(name) == [gone]
        refused(send(f"{ROLES}/{role['id']}/revocation", {"reason": "encore"}), 409, "revoked-already")
        refused(send(f"{ROLES}/999999/revocation", {"reason": "encore"}), 404, "role-unknown")
        refused(send(f"{ROLES}/9223372036854775807/revocation", {"reason": "encore"}), 404, "role-unknown")
        for word, reason in (("bound", "pour l'essai"), ("revoked", "fin de l'essai")):
            journal.wait(f"role-{word}", cn=f"^{name}$", by="^CN=func-admin-1, OU=", reason=reason, **{"from": HERE})
    history = [change for change in everything(CHANGES, "changes") if change["cn"] == name]
    assert [change["action"] for change in history] == ["bind", "revoke"], history
    for change in history:
        assert change["by"].startswith("CN=func-admin-1, OU=") and change["via"] == "exporter" and re.match(HERE, change["from"]), change
        assert change["state"] == "done" and change["role"] == role["id"] and change["at"] and change["decided"]["at"], change
        assert get(change["location"]) == change


def test_a_change_by_two_takes_effect_when_the_second_one_agrees():
    name = new("lecteur")
    with pair() as two, Journal() as journal:
        status, change, location = send(ROLES, named(name), at=two.port)
        assert status == 202 and location == f"{CHANGES}/{change['id']}" and change["state"] == "proposed" and change["decided"] is None, change
        assert in_force(name) == 0
        status, answer, where = send(ROLES, named(name), who=second, at=two.port)
        assert (status, answer["code"], where) == (409, "proposed-already", location), answer
        # Who proposed cannot approve: not with another certificate of his, not where one person is enough.
        answers(twin, 200, at=two.port)
        for who, at in (("func-admin-1", two.port), (twin, two.port), ("func-admin-1", None), (twin, None)):
            refused(send(f"{location}/approval", {}, who=who, at=at), 409, "own-proposal")
        refused(send(f"{location}/approval", {}, who="reader-1", at=two.port), 403, "not-allowed")
        refused(send(f"{location}/approval", {}, who="tech-admin-1", at=two.port), 403, "not-allowed")
        assert in_force(name) == 0 and get(location)["state"] == "proposed"
        status, done, _ = send(f"{location}/approval", {"reason": "vu"}, who=second, at=two.port)
        assert status == 200 and done["state"] == "done" and done["decided"]["by"].startswith(f"CN={second}, OU="), done
        assert change["certificate"].upper().endswith(" " + serial("func-admin-1").lstrip("0")) and change["certificate"].startswith("CN=Regulateur CA"), change
        assert done["decided"]["certificate"].upper().endswith(" " + serial(second).lstrip("0")), done
        assert done["decided"]["reason"] == "vu" and re.match(HERE, done["decided"]["from"]) and in_force(name) == 1
        answers(name, 200, at=two.port)
        refused(send(f"{location}/approval", {}, who=second, at=two.port), 409, "decided-already")
        refused(send(f"{location}/refusal", {"reason": "non"}, who=second, at=two.port), 409, "decided-already")
        refused(send(f"{CHANGES}/999999/approval", {}, who=second, at=two.port), 404, "change-unknown")
        journal.wait("role-proposed", cn=f"^{name}$", by="^CN=func-admin-1,", change=f"^{change['id']}$", **{"from": HERE})
        journal.wait("role-bound", cn=f"^{name}$", by=f"^CN={second},", proposed_by="^CN=func-admin-1,")
        # The other way round: a revocation refused, then withdrawn, then done.
        revocation = f"{ROLES}/{done['role']}/revocation"
        for decider in ("func-admin-1", second):
            status, change, location = send(revocation, {"reason": "depart"}, who=second, at=two.port)
            assert status == 202, change
            status, change, _ = send(f"{location}/refusal", {"reason": f"non, dit {decider}"}, who=decider, at=two.port)
            assert status == 200 and change["state"] == "refused" and in_force(name) == 1, change
            journal.wait("role-refused", change=f"^{change['id']}$", by=f"^CN={decider},", reason=f"non, dit {decider}")
        status, change, location = send(revocation, {"reason": "depart"}, who=second, at=two.port)
        assert send(f"{location}/approval", {}, at=two.port)[0] == 200 and in_force(name) == 0
        answers(name, 403, "not-bound", at=two.port)


def test_what_nobody_decides_or_its_proposer_may_no_longer_ask_for_never_happens():
    name, other = new("lecteur"), new("lecteur")
    with pair() as two, Journal() as journal:
        _, old, location = send(ROLES, named(name), at=two.port)
        # Eight days later: history is not rewritten by anybody's ordinary statements.
        try:
            query("UPDATE role_change SET at = now() - interval '8 days' WHERE id = %s", old["id"])
            raise AssertionError("history was rewritten")
        except psycopg2.errors.RaiseException:
            query("SET session_replication_role = replica; UPDATE role_change SET at = now() - interval '8 days' WHERE id = %s", old["id"])
        wait_until(lambda: get(location)["state"] == "expired", SOON, "the proposal has expired")
        refused(send(f"{location}/approval", {}, who=second, at=two.port), 409, "expired")
        journal.wait("role-refused", change=f"^{old['id']}$", reason="7 days")
        assert in_force(name) == 0
        _, change, location = send(ROLES, named(other), who=second, at=two.port)
        agreed("revoke", "--profile", "functional", "--certificate", PKI / f"{second}.pem")
        refused(send(f"{location}/approval", {}, at=two.port), 409, "proposer-revoked")
        answers(second, 403, "not-bound", at=two.port)
        assert send(f"{location}/refusal", {"reason": "il n'est plus la"}, at=two.port)[0] == 200 and in_force(other) == 0


def test_the_last_functional_administrator_stays():
    for cn, ou, serial_, san in value("SELECT coalesce(json_agg(json_build_array(cn, ou, serial, san)), '[]') FROM role WHERE profile = 'functional' "
                                      "AND revoked_at IS NULL AND cn <> 'func-admin-1'"):
        ceremony("revoke", "--profile", "functional", "--cn", cn, "--ou", ou, *(["--serial", serial_] if serial_ else []), *(["--san", san] if san else []))
    last = roles_of("func-admin-1", all=False)
    assert [role["profile"] for role in last] == ["functional"], last
    assert value("SELECT count(*) FROM role WHERE profile = 'functional' AND revoked_at IS NULL") == 1
    refused(send(f"{ROLES}/{last[0]['id']}/revocation", {"reason": "suicide"}), 409, "last-administrator")
    done = ceremony("revoke", "--profile", "functional", "--certificate", PKI / "func-admin-1.pem", check=False)
    assert done.returncode == 3 and "last functional administrator" in done.stderr, done
    # Two proposals, each harmless alone: the second one is refused when it would be done.
    with pair() as two:
        other = [role for role in roles_of(second) if not role["revoked_at"]][0]
        places = [send(f"{ROLES}/{role['id']}/revocation", {"reason": "l'un"}, at=two.port)[2] for role in (last[0], other)]
        assert send(f"{places[1]}/approval", {}, who=second, at=two.port)[0] == 200
        done = ceremony("approve", places[0].rpartition("/")[2], check=False)
        assert done.returncode == 3 and "last functional administrator" in done.stderr, done
        assert send(f"{places[0]}/refusal", {"reason": "plus maintenant"}, at=two.port)[0] == 200
    assert value("SELECT count(*) FROM role WHERE profile = 'functional' AND revoked_at IS NULL") == 1


def test_a_lost_card_proposes_nothing_any_more():
    """Bound by serial number: the next card of the same person makes nothing good that was proposed with the lost one."""
    name = new("lecteur")
    lost = new("carte", "Administrateurs fonctionnels")
    subject = f"{REGULATOR}/OU=Administrateurs fonctionnels/CN={lost}"
    fresh = issue(short("carte"), ca="regulator-ca", subject=subject)
    card = lambda act, of: agreed(act, "--profile", "functional", "--certificate", PKI / f"{of}.pem", "--serial", serial(of))
    with pair() as two:
        card("bind", lost)
        answers(lost, 200, at=two.port)
        status, change, location = send(ROLES, named(name), who=lost, at=two.port)
        assert status == 202, change
        card("bind", fresh)
        try:
            card("revoke", lost)
            answers(fresh, 200, at=two.port)
            refused(send(f"{location}/approval", {}, who=second, at=two.port), 409, "proposer-revoked")
            refused(send(f"{location}/approval", {}, who=fresh, at=two.port), 409, "own-proposal")
            assert in_force(name) == 0
            # The store itself takes no word of the lost one, however late its front hears of it.
            person = f"CN={lost}, OU=Administrateurs fonctionnels"
            for certificate, outcome in ((f"CN=Regulateur CA {serial(lost).lstrip('0')}", "not-allowed"), (f"CN=Regulateur CA {serial(fresh).lstrip('0')}", "refused")):
                got = query("SELECT outcome FROM role_decide(%s, false, 'non', %s, %s, '192.0.2.1')", change["id"], person, certificate, role="coffre_admin")
                assert got == [(outcome,)], (certificate, got)
        finally:
            card("revoke", fresh)


def test_changes_are_made_where_the_one_before_is_seen():
    for level in ("repeatable read", "serializable"):
        try:
            query(f"SET TRANSACTION ISOLATION LEVEL {level}; SELECT role_decide(1, true, '', 'a', 'b', 'c')")
            raise AssertionError(level)
        except psycopg2.errors.RaiseException as e:
            assert "read committed" in str(e)


def test_hostile_texts_are_only_texts():
    texts = ["'; DROP TABLE role; --", "x') ON CONFLICT DO NOTHING; --", "$1", "%s%n", "a\\'b", "O'Brien", "r\u00e9gulateur \u2028", "<script>", "{}", "NULL", "x" * 255]
    for text in [f"{text} {unique()}"[-255:] for text in texts]:
        status, role, _ = send(ROLES, named(text, reason=text))
        assert status == 201 and role["cn"] == text, (text, role)
        assert [role["cn"] for role in roles_of(text, all=False)] == [text]
        assert send(f"{ROLES}/{role['id']}/revocation", {"reason": text})[0] == 200
        assert value("SELECT count(*) FROM role_change WHERE cn = %s AND reason = %s AND role = %s", text, text, role["id"]) == 2
        listed = ceremony("changes").stdout
        assert text in listed
    for content, code in (({"profile": "king"}, "profile"), ({"cn": ""}, "member-missing"), ({"cn": "x" * 256}, "cn"), ({"cn": "a\x00b"}, "json"),
                          ({"cn": "a\nb"}, "cn"), ({"cn": "\u009b31m"}, "cn"), ({"serial": "0x1"}, "serial"), ({"serial": "' OR 1=1"}, "serial"),
                          ({"san": "host"}, "san"), ({"reason": ""}, "reason"), ({"reason": "x" * 1001}, "reason"), ({"reason": "\u009b2K"}, "reason"), ({"id": "1"}, "member-unknown"),
                          ({"cn": 1}, "member-text"), ({"cn": None}, "member-text")):
        refused(send(ROLES, {**named("x"), **content}), 400, code)
    refused(send(ROLES, {**named("x"), "reason": "x" * 20000}), 413, "too-large")
    for after in ("1%27", "1;SELECT", "-1"):
        assert curl(f"{ROLES}?after={after}", "func-admin-1")[0] == 400
    assert value("SELECT count(*) FROM role") > len(texts)


DAEMONS = ("coffre_roster", "coffre_ledger", "coffre_sealer", "coffre_exporter", "coffre_admin")


def forbidden(role, sql):
    try:
        query(sql, role=role)
    except psycopg2.errors.InsufficientPrivilege:
        return True
    return False


def test_no_daemon_changes_bindings_or_history_by_sql():
    person = "'mallory', 'ca 1', '192.0.2.1'"
    propose = f"SELECT role_propose('bind', NULL, 'functional', 'mallory', 'x', '', '', 'r', 1, {person})"
    for role in DAEMONS:
        for sql in ("INSERT INTO role (profile, cn, ou) VALUES ('reader', 'x', 'x')", "UPDATE role SET revoked_at = NULL", "UPDATE role SET cn = 'x'",
                    "DELETE FROM role", "TRUNCATE role CASCADE", "INSERT INTO role_change (action) VALUES ('bind')", "UPDATE role_change SET state = 'done'",
                    "DELETE FROM role_change", "INSERT INTO override (profile, until, author, origin, reason) VALUES ('reader', now() + '1h', 'x', 'x', 'x')",
                    "UPDATE override SET until = now()", "DELETE FROM override", "UPDATE role_outbox SET journaled_at = now()", "DELETE FROM role_outbox",
                    "SELECT role_apply(c, 'x', 'x', 'x', 'exporter', '') FROM role_change c", "SELECT override_set('reader', 60, 'x', 'x', 'x')",
                    "SELECT override_end(NULL, 'x', 'x')", "ALTER TABLE role DISABLE TRIGGER ALL", "SET session_replication_role = replica",
                    "CREATE TEMP TABLE role (id integer)", *([] if role == "coffre_admin" else [propose, "SELECT role_decide(1, true, '', 'a', 'b', 'c')"])):
            assert forbidden(role, sql), f"{role} may: {sql}"
    # Who may call the function gets no further than the function allows.
    assert query(propose, role="coffre_admin") == [("(not-allowed,,)",)]
    assert query(f"SELECT outcome FROM role_decide(1, true, '', {person})", role="coffre_admin") == [("not-allowed",)]
    assert in_force("mallory") == 0
    for role in ("coffre_roster", "coffre_exporter"):
        query("SELECT * FROM override_in_force", role=role)
    assert forbidden("coffre_roster", "SELECT * FROM override") and forbidden("coffre_exporter", "SELECT * FROM role_change")
    # The owner cannot lose history by accident either.
    for sql in ("DELETE FROM role", "DELETE FROM role_change", "TRUNCATE role_change CASCADE", "UPDATE role_change SET reason = 'autre'",
                "UPDATE role_change SET state = 'refused' WHERE state = 'done'", "UPDATE override SET until = until + interval '1 day'", "DELETE FROM role_outbox"):
        before = value("SELECT count(*) FROM role_change")
        try:
            query(sql)
            assert "override" in sql and value("SELECT count(*) FROM override") == 0, sql
        except psycopg2.errors.RaiseException:
            pass
        assert value("SELECT count(*) FROM role_change") == before


def test_a_certificate_is_bound_by_its_serial_number():
    name = new("serie")
    number = serial(name)
    other = issue(short("serie"), ca="regulator-ca", subject=f"{REGULATOR}/OU=Essais/CN={name}")
    assert send(ROLES, named(name, serial="1234"))[0] == 201
    assert send(ROLES, named(name, serial="0" + number.lower()))[0] == 201
    answers(name, 200)
    answers(other, 403, "not-bound")
    # Another profile by serial and the most general one beside it: each certificate has its own.
    ceremony("bind", "--profile", "technical", "--cn", name, "--ou", "Essais", "--serial", serial(other), "--reason", "autorite de l'operateur")
    answers(other, 403, "not-bound")  # technical administrators are the operator's
    ceremony("bind", "--profile", "reader", "--cn", name, "--ou", "Essais")
    answers(other, 200)
    mine = {role["serial"]: role["id"] for role in roles_of(name) if role["profile"] == "reader"}
    assert set(mine) == {"", "1234", number.lstrip("0")}, mine
    for role in mine.values():
        assert send(f"{ROLES}/{role}/revocation", {"reason": "fin"})[0] == 200
    answers(name, 403, "not-bound")
    ceremony("revoke", "--profile", "technical", "--cn", name, "--ou", "Essais", "--serial", serial(other))


def test_a_certificate_is_bound_by_an_alternative_name():
    san = ["keyUsage=critical,digitalSignature", "extendedKeyUsage=clientAuth",
           "subjectAltName=email:agent@regulateur.invalid,DNS:Poste-7.Regulateur.invalid,URI:urn:regulateur:agent:7,IP:2001:db8:0:0::7"]
    name = new("nom", extensions=san)
    plain = issue(short("nom"), ca="regulator-ca", subject=f"{REGULATOR}/OU=Essais/CN={name}")
    for text in ("email:agent@regulateur.invalid", "DNS:POSTE-7.regulateur.invalid", "URI:urn:regulateur:agent:7", "IP:2001:DB8::7"):
        status, role, _ = send(ROLES, named(name, san=text))
        assert status == 201, role
        answers(name, 200)
        answers(plain, 403, "not-bound")
        assert send(f"{ROLES}/{role['id']}/revocation", {"reason": "fin"})[0] == 200
        answers(name, 403, "not-bound")
    ceremony("bind", "--profile", "reader", "--cn", name, "--ou", "Essais", "--san", "DNS:poste-8.regulateur.invalid")
    answers(name, 403, "not-bound")
    ceremony("revoke", "--profile", "reader", "--cn", name, "--ou", "Essais", "--san", "DNS:Poste-8.regulateur.invalid")


def test_what_cannot_be_kept_for_a_restart_is_kept_as_soon_as_it_can():
    name, kept = short("garde"), RUN / "state/bindings/roster"
    obstacle, log = kept.with_name("roster.new"), daemon_log("coffre-ingest")
    obstacle.mkdir()
    try:
        ceremony("bind", "--profile", "reader", "--cn", name, "--ou", "Essais")
        log.says("code=roster-unwritten")
    finally:
        obstacle.rmdir()
    wait_until(lambda: name.encode() in kept.read_bytes(), SOON, "the binding is kept")
    ceremony("revoke", "--profile", "reader", "--cn", name, "--ou", "Essais")
    wait_until(lambda: name.encode() not in kept.read_bytes(), SOON, "the revocation is kept")


def test_there_are_no_more_bindings_than_fronts_can_hold():
    """Beyond it they would go on with the last ones they could read, whatever was revoked since."""
    connection = database()
    connection.autocommit = False # none of it ever is
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO role (profile, cn, ou) SELECT 'reader', 'foule ' || n, 'Essais' FROM generate_series(1, 100000 - (SELECT count(*) FROM role WHERE revoked_at IS NULL)) n")
        propose = "SELECT outcome FROM role_propose(%s, NULL, 'reader', %s, 'Essais', '', '', '', 1, 'root', 'user root', 'ici')"
        outcomes = []
        for action, cn in (("bind", "foule"), ("revoke", "foule 1"), ("bind", "foule"), ("bind", "foule 1")):
            cursor.execute(propose, (action, cn))
            outcomes += cursor.fetchone()
        assert outcomes == ["too-many", "done", "done", "too-many"], outcomes
    connection.close()


DAEMON, BIN_USER = 1, 2 # users that every Debian has: daemon, bin


def as_user(two, user, *words):
    """A ceremony by somebody who logged in as that user; the kernel is told so, where it lets us. What the environment says counts for nothing."""
    def log_in():
        with open("/proc/self/loginuid", "w") as out:
            out.write(str(user))
    return subprocess.run([BIN / "coffre-ceremony", *map(str, words), "--config", two.config, "--database", OWNER_DATABASE, "--yes"],
                          capture_output=True, text=True, timeout=60, preexec_fn=log_in if logs_in() else None, env={**os.environ, "SUDO_USER": "mallory", "USER": "mallory", "LOGNAME": "mallory"})


def logs_in():
    """Whether a process of ours may be given another login: as root, where the kernel has one."""
    probe = "open('/proc/self/loginuid', 'w').write('1'); open('/proc/self/loginuid', 'w').write('2')"
    return subprocess.run([sys.executable, "-c", probe], capture_output=True).returncode == 0


def test_the_ceremony_too_takes_two():
    name = new("lecteur")
    with pair() as two:
        words = ["--profile", "reader", "--certificate", PKI / f"{name}.pem", "--reason", "arrivee"]
        done = as_user(two, DAEMON, "bind", *words)
        assert done.returncode == 0 and "proposed" in done.stdout and in_force(name) == 0, done
        change = re.search(r"change (\d+)", done.stdout)[1]
        done = as_user(two, DAEMON, "bind", *words)
        assert done.returncode == 3 and f"change {change}" in done.stderr, done
        done = as_user(two, DAEMON, "approve", change)
        assert done.returncode == 3 and "another person" in done.stderr and in_force(name) == 0, done
        if logs_in():
            assert "by daemon (as root) from " in as_user(two, DAEMON, "changes").stdout
            assert as_user(two, BIN_USER, "approve", change, "--reason", "vu").returncode == 0
            assert f"approved by bin (as root) from {socket.gethostname()} (ceremony)" in as_user(two, DAEMON, "changes").stdout
        else: # one person, whatever the environment says
            assert as_user(two, BIN_USER, "approve", change).returncode == 3
            assert send(f"{CHANGES}/{change}/approval", {})[0] == 200
        assert in_force(name) == 1 and value("SELECT count(*) FROM role_change WHERE author || certificate || coalesce(decided_by, '') LIKE %s", "%mallory%") == 0
        # Started by the ceremony, ended by the exporter; then withdrawn.
        change = re.search(r"change (\d+)", as_user(two, DAEMON, "revoke", *words).stdout)[1]
        status, done, _ = send(f"{CHANGES}/{change}/approval", {}, at=two.port)
        assert status == 200 and done["via"] == "ceremony" and done["decided"]["via"] == "exporter" and in_force(name) == 0, done
        change = re.search(r"change (\d+)", as_user(two, DAEMON, "bind", *words).stdout)[1]
        assert as_user(two, DAEMON, "refuse", change, "--reason", "erreur").returncode == 0
        assert as_user(two, DAEMON, "refuse", change).returncode == 3
        assert get(f"{CHANGES}/{change}")["state"] == "refused"
    for words in (("approve",), ("approve", "x"), ("approve", "1", "2"), ("roles", "1"), ("quorum",), ("quorum", "0"), ("quorum", "3"), ("quorum", "x"), ("bind", "--profile", "reader", "--cn", "a", "--serial", "xyz")):
        assert ceremony(*words, check=False).returncode == 2, words
    for reason in ("x" * 1001, "a\nb", "\x1b[2K", "\u009b2K"):
        assert ceremony("bind", "--profile", "reader", "--cn", name, "--ou", "Essais", "--reason", reason, check=False).returncode == 2, reason
    assert ceremony("approve", "999999", check=False).returncode == 3


def test_fewer_people_are_enough_only_when_as_many_as_before_say_so():
    name = new("lecteur")
    with pair() as two, Journal() as journal:
        # Whoever may write the configuration lowers nothing by it: not here, not where it never asked for two.
        mark = two.mark()
        two.reload({"roles.quorum": 1})
        mark.says("code=quorum ", "need 2 people")
        for at in (two.port, None):
            status, change, location = send(ROLES, named(name), at=at)
            assert status == 202 and change["quorum"] == 2, change
            assert send(f"{location}/refusal", {"reason": "non"})[0] == 200
        done = ceremony("bind", "--profile", "reader", "--certificate", PKI / f"{name}.pem")
        change = re.search(r"proposed: change (\d+)", done.stdout)[1]
        assert ceremony("refuse", change, "--reason", "non").returncode == 0 and in_force(name) == 0
        # Nor does a process that lies about it, nor the owner by accident.
        assert query("SELECT role_require(1, 'ici')", role="coffre_admin") == [(2,)] and people() == 2
        for sql in ("UPDATE quorum SET people = 1", "UPDATE quorum SET people = 1, change = (SELECT max(id) FROM role_change)", "DELETE FROM quorum", "TRUNCATE quorum"):
            try:
                query(sql)
                raise AssertionError(sql)
            except psycopg2.errors.RaiseException:
                assert people() == 2
        # It is a change, which two must want.
        done = ceremony("quorum", "1", "--reason", "un seul reste")
        change = re.search(r"proposed: change (\d+)", done.stdout)[1]
        done = ceremony("quorum", "1", check=False)
        assert done.returncode == 3 and f"change {change}" in done.stderr, done
        done = ceremony("approve", change, check=False)
        assert done.returncode == 3 and "another person" in done.stderr and people() == 2, done
        listed = [one for one in everything(CHANGES, "changes") if one["id"] == int(change)]
        assert len(listed) == 1 and (listed[0]["action"], listed[0]["people"], listed[0]["profile"], listed[0]["state"]) == ("quorum", 1, "", "proposed"), listed
        journal.wait("role-proposed", change=f"^{change}$", action="^quorum 1$", reason="un seul reste", by=".")
        status, done, _ = send(f"{CHANGES}/{change}/approval", {"reason": "vu"}, who=second, at=two.port)
        assert status == 200 and done["state"] == "done" and people() == 1, done
        journal.wait("role-quorum", change=f"^{change}$", action="^quorum 1$", by=f"^CN={second},", proposed_by=".")
        assert f"done: quorum" in ceremony("changes").stdout
        assert send(ROLES, named(name))[0] == 201 and in_force(name) == 1
        done = ceremony("quorum", "1", check=False)
        assert done.returncode == 3 and "already" in done.stderr, done
        # One person may ask for more, and the configuration too: then it is again as it was.
        assert "proposed" not in ceremony("quorum", "2").stdout and people() == 2
        agreed("quorum", "1")
        assert people() == 1
        two.reload({"roles.quorum": 2})
        wait_until(lambda: people() == 2, SOON, "the configuration asks for two again")
        journal.wait("role-quorum", by="^coffre.yml$", action="^quorum 2$")
        # What was agreed to once is not agreed to for ever.
        try:
            query("UPDATE quorum SET people = 1, change = (SELECT max(id) FROM role_change WHERE action = 'quorum' AND people = 1 AND state = 'done')")
            raise AssertionError("an old agreement lowers the quorum again")
        except psycopg2.errors.RaiseException:
            assert people() == 2
        # Nor does one that names no number wait in the way of those that do.
        try:
            query("SELECT role_propose('quorum', NULL, '', '', '', '', '', 'x', 2, 'eve', 'user eve', 'ici')")
            raise AssertionError("a quorum of no number is proposed")
        except psycopg2.errors.CheckViolation:
            pass
        done = program("coffre-ceremony", "quorum", "1", "--config", two.config, "--database", OWNER_DATABASE, "--yes", check=False)
        assert done.returncode == 3 and "roles.quorum" in done.stderr and people() == 2, done
    assert people() == 1


def test_records_are_journaled_even_when_nobody_was_there():
    name = short("absent")
    with Journal() as journal:
        instance("stop", "coffre-exporter")
        try:
            ceremony("bind", "--profile", "reader", "--cn", name, "--ou", "Essais", "--reason", "pendant l'arret")
            assert value("SELECT count(*) FROM role_outbox WHERE journaled_at IS NULL") > 0
        finally:
            instance("start", "coffre-exporter")
        journal.wait("role-bound", cn=f"^{name}$", reason="pendant l'arret", by=".")
        wait_until(lambda: value("SELECT count(*) FROM role_outbox WHERE journaled_at IS NULL") == 0, SOON, "the outbox is empty")
        # Killed at any moment, it forgets nothing.
        for turn in range(3):
            ceremony("revoke" if turn % 2 == 0 else "bind", "--profile", "reader", "--cn", name, "--ou", "Essais", "--reason", f"tour {turn}")
            for role in ("admin", "journal"):
                for pid in children(pid_of("coffre-exporter")).get(role, []):
                    os.kill(pid, signal.SIGKILL)
            journal.wait("role-bound" if turn % 2 else "role-revoked", cn=f"^{name}$", reason=f"tour {turn}")


def test_an_override_begins_ends_and_is_journaled():
    for words in (("--profile", "reader", "--for", "8d", "--reason", "x"), ("--profile", "reader", "--for", "1h"), ("--for", "1h", "--reason", "x"),
                  ("--profile", "king", "--for", "1h", "--reason", "x"), ("--profile", "reader", "--for", "0m", "--reason", "x"),
                  ("--profile", "reader", "--for", "1h", "--reason", " ")):
        assert ceremony("override", *words, check=False).returncode == 2, words
    with Journal() as journal:
        ceremony("override", "--profile", "reader", "--for", "2h", "--reason", "repondeur en panne")
        assert ceremony("override", "--profile", "reader", "--for", "1h", "--reason", "encore", check=False).returncode == 3
        assert "repondeur en panne" in ceremony("overrides").stdout
        journal.wait("override-set", profile="reader", reason="repondeur en panne", by=".", until="^20")
        journal.wait("override-begun", profile="reader")
        ceremony("override", "--end", "--profile", "reader")
        assert ceremony("override", "--end", check=False).returncode == 3
        journal.wait("override-lifted", profile="reader", by=".")
        journal.wait("override-ended", profile="reader")
    assert "repondeur en panne" not in ceremony("overrides").stdout and "repondeur en panne" in ceremony("overrides", "--all").stdout
    # One that nobody ends ends by itself.
    ceremony("override", "--profile", "depositor", "--for", "2s", "--reason", "courte")
    wait_until(lambda: query("SELECT 1 FROM override_in_force", role="coffre_roster") == [], SOON, "the override is over")
    assert ceremony("override", "--end", check=False).returncode == 3


@contextlib.contextmanager
def old_store(number):
    """A database of another vault as an earlier version made it: the schema up to the part that upgrades."""
    name = f"coffre_{OPERATOR}_{number}"
    schema = (ROOT / "deploy/postgresql/schema.sql").read_text().split("\n-- AGAIN\n")
    assert len(schema) == 2
    place = ["psql", "-q", "-h", RUN / "postgresql/socket", "-U", "postgres", "-v", "ON_ERROR_STOP=1"]
    subprocess.run([*place, "-c", f"DROP DATABASE IF EXISTS {name}", "-c", f"CREATE DATABASE {name}"], check=True, timeout=120,
                   env={**os.environ, "PGOPTIONS": "-c client_min_messages=warning"})
    try:
        subprocess.run([*place, "-d", name, "-v", f"operator={OPERATOR}", "-v", f"number={number}"], input=schema[0], text=True, check=True, timeout=120)
        yield name
    finally:
        subprocess.run([*place, "-c", f"DROP DATABASE {name} WITH (FORCE)"], check=True, timeout=120)


def shape(database_name):
    text = subprocess.run(["pg_dump", "-h", RUN / "postgresql/socket", "-U", "postgres", "-s", database_name], capture_output=True, text=True, check=True,
                          timeout=120).stdout
    return [line for line in text.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))]


def test_a_store_of_an_earlier_version_is_upgraded_and_one_of_this_stays_as_it_is():
    before, rows = shape(DATABASE), value("SELECT count(*) FROM role_change")
    ceremony("upgrade")
    assert shape(DATABASE) == before and value("SELECT count(*) FROM role_change") == rows
    answers("func-admin-1", 200)
    another = Another("coffre-exporter", {"vault.number": 998})
    words = ["--config", another.config, "--database", OWNER_DATABASE, "--yes"]
    with old_store(998) as name:
        bound = ["bind", "--profile", "reader", "--cn", "a", "--ou", "b", "--serial", "AB"]
        assert program("coffre-ceremony", *bound, *words, check=False).returncode == 1
        assert shape(name) != before
        for _ in range(2):
            program("coffre-ceremony", "upgrade", *words)
            assert shape(name) == before
        assert "bound: reader" in program("coffre-ceremony", *bound, *words).stdout
        # Another vault's store is not touched.
        another.change({"vault.number": 997})
        done = program("coffre-ceremony", "upgrade", *words, check=False)
        assert done.returncode == 1, done
    another.config.unlink()


def test_functions_of_an_owner_who_is_no_superuser_still_take_turns():
    """A superuser's upgrade takes advisory locks from everybody; functions run as their owner, who may be anybody."""
    another = Another("coffre-exporter", {"vault.number": 996})
    owned = "SELECT has_function_privilege('coffre_test_owner', 'pg_advisory_xact_lock(int, int)', 'EXECUTE'), proowner::regrole::text FROM pg_proc WHERE proname = 'operation_ask'"
    query("DROP ROLE IF EXISTS coffre_test_owner")
    query("CREATE ROLE coffre_test_owner")
    try:
        with old_store(996) as name:
            words = ["upgrade", "--config", another.config, "--database", OWNER_DATABASE, "--yes"]
            program("coffre-ceremony", *words)
            query("ALTER FUNCTION operation_ask(text, text, text, text, text, text) OWNER TO coffre_test_owner", name=name)
            assert query(owned, name=name) == [(False, "coffre_test_owner")]
            program("coffre-ceremony", *words)
            assert query(owned, name=name) == [(True, "coffre_test_owner")]
    finally:
        query("DROP ROLE coffre_test_owner")
    another.config.unlink()


run(globals())
