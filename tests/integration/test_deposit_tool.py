#!/usr/bin/python3
"""coffre-deposit itself: exit codes, what it says, transactions, interruption, resuming, reconnecting, generated load."""
import os
import signal
import sys
import tempfile

sys.path.insert(0, os.path.dirname(__file__))
from coffre import *
from holders import SOON, bind, deposits_of, ingest, let_in, pki, sensor, short, unbind, StompSensor


def count():
    return value("SELECT count(*) FROM event")


def folder_with(**files):
    folder = tempfile.TemporaryDirectory()
    for name, content in files.items():
        (pathlib.Path(folder.name) / f"{name}.xml").write_bytes(content)
    return folder


def results(done):
    """The JSON document: its summary, and the results by source."""
    document = json.loads(done.stdout)
    return document["summary"], document["results"]


def started(*words, sensor="sensor-1", at=None):
    """coffre-deposit in the background."""
    return subprocess.Popen([BIN / "coffre-deposit", *map(str, identity(sensor)), "--port", str(at or port("STOMP")), *map(str, words)],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


LOAD = ["--operator", OPERATOR, "--duration", "3600", "--rate", "50", "--json"]


def many(n):
    mark = unique("serie")
    return b"\n".join(event(f"{mark} {i}") for i in range(n))


def test_invalid_events_are_named_and_the_others_go_through():
    mark = unique()
    with folder_with(bon=event(mark), mauvais=event(mark, operator="9999")) as folder:
        before = count()
        done = deposit("--follow", "ok", "--json", folder, check=False)
        summary, found = results(done)
        status = {pathlib.Path(r["source"].rsplit(":", 1)[0]).name: r for r in found}
        assert done.returncode == 1 and summary["invalid"] == 1 and summary["exit"] == 1, summary
        assert status["bon.xml"]["status"] == "ok" and status["bon.xml"]["serial"] > 0
        assert status["mauvais.xml"]["status"] == "invalid" and status["mauvais.xml"]["reason"]
        assert count() == before + 1


def test_files_that_are_no_events_are_named_with_their_line():
    mark = unique()
    with folder_with(a=event(mark), b=event(mark + "b") + b"\n<X>\n</Y>\n") as folder:
        before = count()
        done = deposit("--follow", "ok", folder, check=False)
        assert done.returncode == 1 and "b.xml: line 3, column 1: </Y> where </X> is expected" in done.stderr, done.stderr
        assert count() == before + 2


def test_one_transaction_is_all_or_nothing():
    mark = unique()
    with folder_with(a=event(mark), b=b"<X>") as folder:
        before = count()
        done = deposit("--transaction", "all", folder, check=False)
        assert done.returncode == 1 and "nothing was deposited" in done.stderr, done.stderr
        done = deposit("--transaction", "all", "--follow", "ok", f"{folder}/a.xml")
        assert count() == before + 1


def test_standard_input_and_small_transactions():
    before = count()
    done = deposit("--transaction", "7", "--follow", "ok", "--json", "-", stdin="<?xml version='1.0'?>\n" + many(50).decode())
    summary, found = results(done)
    assert summary["deposited"] == 50 and count() == before + 50
    serials = [r["serial"] for r in found]
    assert serials == list(range(serials[0], serials[0] + 50))


def test_the_digest_of_each_answer_is_of_the_event_with_its_number():
    mark = unique()
    with folder_with(a=event(mark)) as folder:
        _, (found,) = results(deposit("--follow", "ok", "--json", folder))
        assert found["vaultDigest"] == digest(event(mark, placeholder=found["serial"]))
        assert found["digest"] == digest(event(mark))


def test_exit_codes_of_usage_and_connection():
    samples = ROOT / "deploy/samples"
    assert deposit(check=False).returncode == 2
    assert deposit("--window", "0", samples, check=False).returncode == 2
    assert deposit("/nonexistent", check=False).returncode == 2
    for who in ("foreign", "stranger"):
        done = deposit("--retry", "2", samples, sensor=who, check=False)
        assert done.returncode == 5 and "gave up: " in done.stderr and "refuses our certificate" in done.stderr, (who, done.returncode, done.stderr)
    assert deposit("--retry", "0", samples, at=1, check=False).returncode == 3
    # One try is one try: it succeeds when the vault is there, and says why not otherwise.
    with folder_with(one=many(1)) as folder:
        assert deposit("--retry", "0", folder, check=False).returncode == 0
    assert "not bound to a depositor" in deposit("--retry", "0", samples, sensor="stranger", check=False).stderr


def test_interruption_is_tidy_and_the_next_run_does_the_rest():
    with folder_with(grand=many(20000)) as folder:
        state = pathlib.Path(folder) / "state"
        words = ["--follow", "ok", "--state", state, "--quiet", f"{folder}/grand.xml"]
        before = count()
        child = started("--window", "1", *words) # by far not through when it is interrupted
        wait_until(lambda: state.exists() and state.stat().st_size > 10000, 60, "the first events are acknowledged")
        child.send_signal(signal.SIGINT)
        child.wait(timeout=60)
        assert child.returncode == 130, child.stderr.read()
        assert count() < before + 20000
        deposit(*words)
        assert count() == before + 20000
        deposit(*words)
        assert count() == before + 20000
    check_numbers()


def test_a_killed_front_costs_nothing():
    with folder_with(grand=many(20000)) as folder:
        before = count()
        child = started("--follow", "ok", "--json", f"{folder}/grand.xml")
        wait_until(lambda: count() > before + 1000, 60, "the first events are numbered")
        instance("kill", "coffre-ingest")
        instance("start", "coffre-ingest")
        out, errors = child.communicate(timeout=200)
        assert child.returncode == 0, errors
        assert json.loads(out)["summary"]["deposited"] == 20000
        assert count() == before + 20000
    check_numbers()


def test_generated_load_is_answered_and_archived():
    before = count()
    done = deposit("--operator", OPERATOR, "--generate", "5000", "--connections", "3", "--window", "32", "--follow", "archived",
                   "--timeout", "120", "--json")
    figures = json.loads(done.stdout)
    assert figures["confirmed"] == 5000 and figures["answers"]["ok"] == 5000 and figures["lost"] == 0, figures
    assert figures["sealed"]["lastSerial"] >= before + 5000
    assert count() == before + 5000


def figures_of(child):
    out, errors = child.communicate(timeout=200)
    return json.loads(out), errors


def test_a_load_gives_up_when_the_vault_stops_in_the_middle():
    for connections, more in ((1, []), (2, ["--follow", "ok"])):
        name = sensor() # what the one before had on its way is not this one's
        with ingest() as vault:
            let_in(name, vault.port, [StompSensor])
            child = started(*LOAD, "--retry", "2", "--connections", connections, *more, sensor=name, at=vault.port)
            wait_until(lambda: deposits_of(name) > 50, SOON, "the first events are numbered")
            vault.stop()
            figures, errors = figures_of(child)
        assert child.returncode == 3 and figures["exit"] == 3, (figures, errors)
        assert errors.splitlines()[-1].startswith("coffre-deposit: gave up: ") and "Connection refused" in errors, errors
        assert figures["confirmed"] > 20 and figures["confirmedPerSecond"] > 0 and figures["p50ms"] > 0, figures
        assert 0 < figures["seconds"] < 3600, figures


def test_a_load_without_any_session_shows_no_figures():
    done = deposit(*LOAD, "--retry", "1", at=1, check=False)
    figures = json.loads(done.stdout)
    assert done.returncode == 3 and figures["seconds"] == figures["confirmedPerSecond"] == figures["sent"] == 0, figures
    assert all(figures[name] is None for name in ("p50ms", "p999ms", "maxms")), figures
    done = deposit(*LOAD[:-1], "--retry", "1", at=1, check=False)
    assert "rate" not in done.stdout and "receipt after" not in done.stdout and re.search(r"(?m)^confirmed +0 of 0 sent, in 0.00 s", done.stdout), done.stdout


def test_a_load_that_waits_for_its_first_session_is_interrupted_at_once():
    child = started(*LOAD, "--retry", "600", at=1)
    assert "Connection refused" in child.stderr.readline()
    child.send_signal(signal.SIGINT)
    figures, errors = figures_of(child)
    assert child.returncode == 130 and figures["seconds"] == 0, (figures, errors)


def test_a_certificate_revoked_in_the_middle_ends_everything_in_words():
    """Loads, idle connections and files alike: exit 5 at once, whatever --retry says."""
    whole = many(20000)
    with folder_with(grand=whole) as folder:
        for words in ([*LOAD, "--retry", "600"], ["--idle", "3", "--retry", "600"], ["--retry", "600", "--window", "1", f"{folder}/grand.xml"]):
            name = sensor()
            let_in(name, kinds=[StompSensor])
            child = started(*words, sensor=name)
            if "--idle" in words:
                assert "3 connections are idle" in child.stdout.readline()
            else:
                wait_until(lambda: value("SELECT count(*) FROM event JOIN role ON depositor = id WHERE cn = %s", name) > 5, SOON, "the first events are numbered")
            pki("revoke", name, "keyCompromise")
            _, errors = child.communicate(timeout=200)
            assert child.returncode == 5, (words, child.returncode, errors)
            assert "gave up: the vault refuses our certificate: the certificate has been revoked" in errors, (words, errors)
            done = deposit("--retry", "600", f"{folder}/grand.xml", sensor=name, check=False)
            assert done.returncode == 5 and "the certificate has been revoked" in done.stderr, done.stderr


def test_a_certificate_unbound_in_the_middle_is_tried_again_until_it_is_bound():
    name = sensor()
    let_in(name, kinds=[StompSensor])
    child = started(*LOAD, "--retry", "600", sensor=name)
    wait_until(lambda: deposits_of(name) > 20, SOON, "the first events are numbered")
    unbind(name)
    assert "the vault refuses our certificate: the certificate is no longer bound" in child.stderr.readline()
    assert "not bound to a depositor" in child.stderr.readline()
    before = deposits_of(name)
    bind(name)
    wait_until(lambda: deposits_of(name) > before + 20, SOON, "it deposits again")
    child.send_signal(signal.SIGINT)
    figures, errors = figures_of(child)
    assert child.returncode == 130 and figures["confirmed"] + figures["lost"] == figures["sent"] > 40, (figures, errors)
    unbind(name)
    done = deposit(*LOAD, "--retry", "2", sensor=name, check=False)
    assert done.returncode == 5 and "not bound to a depositor" in done.stderr.splitlines()[-1], done.stderr


run(globals())
