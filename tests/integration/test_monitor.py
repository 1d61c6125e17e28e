#!/usr/bin/python3
"""What technical administrators see and ask for: metrics of all daemons in one text, their states, operations; by whom, how often, and what the journal says of it."""
import os
import pathlib
import re
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(__file__))
from coffre import instance
from holders import *

OPERATIONS = "/v1/operations"
STATE = RUN / "state"
DAEMONS = ("coffre-exporter", "coffre-ingest", "coffre-sealer")


# ---- metrics -------------------------------------------------------------------------------------------

def metrics():
    status, head, body = http("/v1/metrics", "tech-admin-1")
    assert status == 200 and re.search(r"(?mi)^content-type: text/plain; version=0\.0\.4; charset=utf-8\r?$", head), (status, head)
    return body.decode("ascii")


def samples(text):
    """{(name, labels): value}; each name's samples stand together behind their TYPE."""
    found, typed, name = {}, set(), None
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            name = line.split()[2]
            assert name not in typed, f"{name} has two TYPEs"
            assert line.split()[3] == ("counter" if name.endswith("_total") else "gauge"), line
            typed.add(name)
        elif not line.startswith("#"):
            match = re.fullmatch(r'([a-z_]+)\{(daemon="[^"]+"(?:,\w+="(?:[^"\\]|\\.)*")*)\} (\S+)', line)
            assert match and match[1] == name, line
            assert match.groups()[:2] not in found, f"{line} twice"
            found[match[1], match[2]] = float(match[3])
    return found


def of(daemon, name, text=None):
    found = [value for (what, labels), value in samples(text or metrics()).items() if what == name and labels.startswith(f'daemon="{daemon}"')]
    assert len(found) == 1, (daemon, name, found)
    return found[0]


def test_metrics_of_all_daemons_are_one_text_of_the_format():
    def missing():
        """What daemons have written and the text does not tell: roles that have just started tell theirs a second later, and are written before they are told."""
        written = {(daemon, line.split("{")[0]) for daemon in DAEMONS for line in (STATE / f"{daemon}.prom").read_text().splitlines() if not line.startswith("#")}
        return written - {(labels.split('"')[1], name) for name, labels in samples(metrics())}
    wait_until(lambda: not missing(), SOON, "all that daemons write is told")
    text = metrics()
    for daemon in DAEMONS:
        assert 0 <= of(daemon, "coffre_metrics_age_seconds", text) < SOON and of(daemon, "coffre_metrics_left_out", text) == 0
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    # 0: nothing to say; 3: advice on names and help texts; 1: not the format.
    advice = [line for line in (done.stdout + done.stderr).splitlines() if not line.endswith(("no help text", "should not contain abbreviated units"))]
    assert done.returncode in (0, 3) and not advice, (done.returncode, advice)
    status, head, body = curl_head("/v1/metrics", "tech-admin-1")
    assert status == 200 and int(re.search(r"(?mi)^content-length: (\d+)", head)[1]) > 1000 and body == b"", (status, head)


def curl_head(path, who):
    done = subprocess.run(["curl", "-sS", "-I", "--http1.1", "--cacert", PKI / "trust.pem", "--cert", PKI / f"{who}.pem", "--key", PKI / f"{who}.key",
                           f"https://localhost:{port('HTTPS')}{path}"], capture_output=True, timeout=60)
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.decode(), body


def told_of():
    """Labels of the daemons that metrics are known of."""
    return {labels for name, labels in samples(metrics()) if name == "coffre_metrics_age_seconds"}


def test_what_is_not_metrics_is_left_out_and_said_to_be():
    good = "aa_fine 1\naa_labels{a=\"b\\\"c\\\\\",} NaN\naa_fine_total{x=\"\"} 1e3\n"
    bad = ["no value", "1digit 1", "aa_fine  2", "aa_fine x", "aa_fine 0x10", "aa_fine{ 1", 'aa_fine{a="b 1', 'aa_fine{daemon="coffre-sealer"} 1', 'aa_fine{a="b"c="d"} 1',
           "aa_fine 1 1700000000", 'aa_fine{a="b",a="c"} 1', "coffre_metrics_age_seconds 1", "coffre_metrics_left_out 1", "aa_" + "x" * 2000 + " 1", 'aa_fine{a="\x01"} 1', "# TYPE aa_fine counter\x01", "aa_fine 1;DROP"]
    files = {"zz-bad.prom": good + "\n".join(bad) + "\n", "zz-large.prom": "aa_large 1\n" * 100000, "zz bad.prom": "aa_space 1\n", "..prom": "aa_dot 1\n", ".prom": "aa_none 1\n",
             f"{'z' * 60}.prom": "aa_long 1\n"}
    made = [STATE / name for name in (*files, "zz-link.prom", "zz-fifo.prom", "zz-folder.prom")]
    try:
        (STATE / "zz-link.prom").symlink_to("zz-bad.prom")
        os.mkfifo(STATE / "zz-fifo.prom")
        (STATE / "zz-folder.prom").mkdir()
        for name, text in reversed(files.items()): # those that are waited for come last, whole
            (STATE / "zz-new").write_text(text)
            (STATE / "zz-new").rename(STATE / name)
        wait_until(lambda: {'daemon="zz-bad"', 'daemon="zz-large"'} <= told_of(), SOON, "the files are read")
        found = samples(metrics())
        mine = {key: value for key, value in found.items() if key[0].startswith("aa_")}
        assert set(mine) == {("aa_fine", 'daemon="zz-bad"'), ("aa_labels", 'daemon="zz-bad",a="b\\"c\\\\"'), ("aa_fine_total", 'daemon="zz-bad",x=""')}, mine
        assert found["coffre_metrics_left_out", 'daemon="zz-bad"'] == len(bad) - 1 and found["coffre_metrics_left_out", 'daemon="zz-large"'] == -1, found
        assert {labels for name, labels in found if name == "coffre_metrics_age_seconds"} == {f'daemon="{d}"' for d in (*DAEMONS, "zz-bad", "zz-large")}
        for i in range(30): # no more than so many are looked at, whatever is there
            made.append(STATE / f"aa-{i}.prom")
            made[-1].write_text("aa_many 1\n")
        wait_until(lambda: len(told_of()) >= 16, SOON, "as many are read as ever are")
        assert len(told_of()) == 16
    finally:
        for path in made:
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
    wait_until(lambda: told_of() == {f'daemon="{d}"' for d in DAEMONS}, SOON, "they are forgotten")


def test_metrics_are_there_when_the_store_is_not():
    instance("stop", "postgresql")
    try:
        wait_until(lambda: curl("/check", "tech-admin-1")[0] == 503, SOON, "the store is away")
        # A query that starts again knows them a second later, and the next request may be the other one's.
        def told():
            status, _, body = http("/v1/metrics", "tech-admin-1")
            return body.decode("ascii") if status == 200 else None
        text = wait_until(told, SOON, "metrics without a store")
        assert of("coffre-exporter", "coffre_metrics_age_seconds", text) < SOON
    finally:
        instance("start", "postgresql")
    # Each query finds it again by itself; front asks them in turn.
    wait_until(lambda: all(http("/v1/status", "tech-admin-1")[0] == 200 for _ in range(8)), SOON, "all queries have the store again")


# ---- states --------------------------------------------------------------------------------------------

def daemons():
    status, body = curl("/v1/status", "tech-admin-1")
    assert status == 200, body
    return {daemon["daemon"]: daemon for daemon in body["daemons"]}


def test_states_of_daemons_are_for_technical_administrators():
    wait_until(lambda: all(daemon["state"] == "ready" for daemon in daemons().values()), SOON, "all daemons are ready")
    found = daemons()
    assert set(found) == set(DAEMONS), found
    for name, daemon in found.items():
        assert daemon["pid"] == pid_of(name) and daemon["age"] < SOON, daemon
        assert {(role["role"], role["pid"]) for role in daemon["roles"]} == {(role, pid) for role, pids in children(pid_of(name)).items() for pid in pids}, daemon
    assert all(role["state"] == "ready" and role["note"] for role in found["coffre-exporter"]["roles"]), found["coffre-exporter"]
    for who in ("reader-1", "func-admin-1"):
        status, body = curl("/v1/status", who)
        assert status == 200 and "daemons" not in body and body["status"] == "available", (who, body)
    os.kill(pid_of("coffre-sealer"), signal.SIGSTOP)
    try:
        wait_until(lambda: daemons()["coffre-sealer"]["state"] == "silent", SOON, "a daemon that hangs is seen")
        wait_until(lambda: of("coffre-sealer", "coffre_metrics_age_seconds") > 5, SOON, "its metrics are seen to be old") # another file than its state
    finally:
        os.kill(pid_of("coffre-sealer"), signal.SIGCONT)
    wait_until(lambda: daemons()["coffre-sealer"]["state"] == "ready", SOON, "it is back")


def everybody_says(status):
    """Both queries, which front asks in turn."""
    return all(http("/v1/metrics", "tech-admin-1")[0] == status for _ in range(8))


def test_a_states_role_that_is_killed_comes_back_and_what_is_old_is_not_told():
    pid, = children(pid_of("coffre-exporter"))["states"]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: set(children(pid_of("coffre-exporter")).get("states", [pid])) - {pid}, SOON, "it is started again")
    wait_until(lambda: everybody_says(200) and of("coffre-exporter", "coffre_metrics_age_seconds") < 5, SOON, "metrics are told again")
    wait_until(lambda: set(daemons()) == set(DAEMONS), SOON, "and the states")
    pid, = children(pid_of("coffre-exporter"))["states"]
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: everybody_says(503), SOON, "what nobody reads any more is not told")
        wait_until(lambda: daemons() == {}, SOON, "nor are the states")
        assert curl("/v1/metrics", "tech-admin-1")[1]["code"] == "metrics-away"
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: everybody_says(200), SOON, "metrics are told again")


# ---- operations ----------------------------------------------------------------------------------------

def ask(content, who="tech-admin-1"):
    status, head, body = http(OPERATIONS, who, "POST", content)
    return status, json.loads(body), dict(line.lower().split(": ", 1) for line in head.splitlines()[1:])


def close_lot(reason="pour l'essai", who="tech-admin-1", **more):
    return ask({"operation": "close-lot", "reason": reason, **more}, who)


def done(location):
    got = []

    def so():
        got[:] = curl(location, "tech-admin-1")
        return got[0] == 200 and got[1]["state"] == "done"
    wait_until(so, SOON, lambda: f"{location} is done: {got}")
    return got[1]


def test_a_lot_is_closed_on_demand_by_http_as_by_signal():
    with Journal() as journal:
        reason = unique("raison")
        status, asked, head = close_lot(reason)
        assert status == 202 and head["location"] == asked["location"] == f"{OPERATIONS}/{asked['id']}", (status, asked, head)
        ended = done(asked["location"])
        assert ended["by"] == "CN=tech-admin-1, OU=Exploitation" and ended["reason"] == reason and ended["from"] in ("127.0.0.1", "::1"), ended
        assert ended["certificate"].upper().endswith(" " + serial("tech-admin-1").lstrip("0")) and ended["ended_at"] >= ended["at"], ended
        assert value("SELECT reason FROM lot WHERE lot = %s", ended["lot"]) == "demande"
        for event_, lot in (("operation-asked", "^$"), ("operation-done", f"^{ended['lot']}$")):
            journal.wait(event_, what="^close-lot$", reason=reason, by="^CN=tech-admin-1, OU=", operation=f"^{asked['id']}$", lot=lot, **{"from": r"^(127\.0\.0\.1|::1)$"})
    before = value("SELECT lot FROM head")
    os.kill(pid_of("coffre-sealer"), signal.SIGUSR1)
    wait_until(lambda: value("SELECT count(*) FROM lot WHERE lot >= %s AND reason = 'demande'", before) > 0, SOON, "SIGUSR1 closes the lot")


def test_operations_are_listed_newest_first():
    ids = []
    for turn in range(3):
        status, asked, _ = close_lot(f"page {turn}")
        assert status == 202, asked
        ids.append(done(asked["location"])["id"])
    found, after = [], 0
    while after is not None:
        status, page = curl(f"{OPERATIONS}?limit=2&after={after}", "tech-admin-1")
        assert status == 200 and len(page["operations"]) <= 2, page
        found += [operation["id"] for operation in page["operations"]]
        after = page["next_after"]
    assert found == sorted(found, reverse=True) and found[:3] == ids[::-1], found
    assert curl(f"{OPERATIONS}/999999", "tech-admin-1")[1]["code"] == "operation-unknown"


def test_asked_again_it_is_the_same_and_too_many_wait_for_nobody():
    instance("stop", "coffre-sealer")
    try:
        lots = value("SELECT lot FROM head")
        first = close_lot("encore")[1]["id"]
        assert close_lot("encore")[:2][1]["id"] == first, "the same words while it waits"
        key = short("cle")
        keyed = close_lot("avec", key=key)[1]["id"]
        assert keyed != first and close_lot("avec", key=key)[1]["id"] == keyed
        status, body, _ = close_lot("autre chose", key=key)
        assert (status, body["code"]) == (409, "key-used"), body
        for n in range(2):
            assert close_lot(f"de plus {n}")[0] == 202
        status, body, head = close_lot("de trop")
        assert (status, body["code"]) == (429, "too-many") and int(head["retry-after"]) > 0, (body, head)
        assert close_lot("encore")[1]["id"] == first, "what waits is no new one"
        assert value("SELECT lot FROM head") == lots and value("SELECT count(*) FROM operation WHERE ended_at IS NULL") == 4
    finally:
        instance("start", "coffre-sealer")
    ended = [done(f"{OPERATIONS}/{n}") for n in range(first, first + 4)]
    # One closing is enough for all of them.
    assert len({operation["lot"] for operation in ended}) == 1, ended
    assert value("SELECT count(*) FROM lot WHERE lot >= %s AND reason = 'demande'", lots) == 1
    assert close_lot("avec", key=key)[1]["id"] == keyed and value("SELECT count(*) FROM operation WHERE ended_at IS NULL") == 0, "a key is one request for ever"


def test_nobody_asks_for_more_than_so_many_a_minute():
    wanted = "SELECT outcome FROM operation_ask('close-lot', %s, 'x', 'CN=tech-admin-1, OU=Exploitation', 'ca 1', 'ici')"
    connection = database()
    connection.autocommit = False # none of it ever is
    with connection.cursor() as cursor:
        outcomes = []
        for n in range(21):
            cursor.execute(wanted, (str(n),))
            outcomes += cursor.fetchone()
            cursor.execute("UPDATE operation SET ended_at = now(), lot = 1 WHERE ended_at IS NULL")
    connection.rollback()
    connection.close()
    assert outcomes[-1] == "too-many" and set(outcomes) == {"asked", "too-many"}, outcomes


def test_who_asks_holds_up_neither_ledger_nor_sealer():
    """Whatever a process does that has the exporter's rights: a transaction in which it asks, and which it does not end."""
    connection = database("coffre_exporter")
    connection.autocommit = False
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT outcome FROM operation_ask('close-lot', %s, 'x', 'CN=tech-admin-1, OU=Exploitation', 'ca 1', 'ici')", (unique("tient"),))
            assert cursor.fetchone() == ("asked",)
            before = value("SELECT lot FROM head")
            name = unique("pendant")
            with Stomp("sensor-1") as c:
                c.deposit(event(name), name)
            wait_until(lambda: value("SELECT count(*) FROM lot WHERE lot >= %s AND container IS NOT NULL AND last_serial >= first_serial", before) > 0, SOON,
                       "a deposit is numbered and its lot is sealed meanwhile")
    finally:
        connection.rollback()
        connection.close()


def test_what_is_no_operation_is_refused_for_its_reason():
    for content, code in (({}, "member-missing"), ({"operation": "close-lot"}, "reason"), ({"operation": "close-lot", "reason": "  "}, "reason"),
                          ({"operation": "close-lot", "reason": ""}, "reason"), ({"operation": "close-lot", "reason": "a\nb"}, "reason"),
                          ({"operation": "close-lot", "reason": "x" * 1001}, "reason"), ({"operation": "reboot", "reason": "x"}, "operation"),
                          ({"operation": 1, "reason": "x"}, "member-text"), ({"operation": "close-lot", "reason": "x", "key": ""}, "key"),
                          ({"operation": "close-lot", "reason": "x", "key": "a b"}, "key"), ({"operation": "close-lot", "reason": "x", "key": "k" * 65}, "key"),
                          ({"operation": "close-lot", "reason": "x", "lot": 1}, "member-text"), ({"operation": "close-lot", "reason": "x", "lot": "1"}, "member-unknown"),
                          ("[]", "json-object"), ("", "json"), ('{"operation":"close-lot","operation":"close-lot","reason":"x"}', "json")):
        status, body, _ = ask(content)
        assert (status, body["code"]) == (400, code), (content, status, body)
    before = value("SELECT count(*) FROM operation")
    for who in ("reader-1", "func-admin-1"):
        for path in (OPERATIONS, "/v1/metrics", f"{OPERATIONS}/1"):
            assert curl(path, who)[1]["code"] == "not-allowed", (path, who)
        status, body, _ = close_lot("non", who)
        assert (status, body["code"]) == (403, "not-allowed"), body
    # The store takes no other word for it, whatever process asks.
    for person in ("CN=reader-1, OU=Lecteurs", "CN=nobody, OU=x"):
        got = query("SELECT outcome FROM operation_ask('close-lot', '', 'x', %s, 'ca 1', 'ici')", person, role="coffre_exporter")
        assert got == [("not-allowed",)], got
    assert value("SELECT count(*) FROM operation") == before


if __name__ == "__main__":
    run(globals())
