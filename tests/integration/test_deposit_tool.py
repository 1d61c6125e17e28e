#!/usr/bin/python3
"""coffre-deposit itself: exit codes, what it says, transactions, interruption, resuming, reconnecting, generated load."""
import os
import signal
import sys
import tempfile

sys.path.insert(0, os.path.dirname(__file__))
from coffre import *


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


def started(*words):
    """coffre-deposit in the background."""
    return subprocess.Popen([BIN / "coffre-deposit", *map(str, identity("sensor-1")), "--port", str(port("STOMP")), *map(str, words)],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


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
        assert done.returncode == 3 and "gave up" in done.stderr, (who, done.returncode, done.stderr)
    assert deposit("--retry", "0", samples, at=1, check=False).returncode == 3
    # One try is one try: it succeeds when the vault is there, and says why not otherwise.
    with folder_with(one=many(1)) as folder:
        assert deposit("--retry", "0", folder, check=False).returncode == 0
    assert "not bound to a depositor" in deposit("--retry", "0", samples, sensor="stranger", check=False).stderr


def test_interruption_is_tidy_and_the_next_run_does_the_rest():
    with folder_with(grand=many(20000)) as folder:
        state = pathlib.Path(folder) / "state"
        words = ["--follow", "ok", "--state", state, "--quiet", "--window", "64", f"{folder}/grand.xml"]
        before = count()
        child = started(*words)
        wait_until(lambda: state.exists() and state.stat().st_size > 10000, 60, "the first events are acknowledged")
        child.send_signal(signal.SIGINT)
        child.wait(timeout=60)
        assert child.returncode == 130, child.stderr.read()
        done = deposit(*words)
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


run(globals())
