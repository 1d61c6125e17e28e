#!/usr/bin/python3
"""--check-config of every daemon: what is right passes, what is wrong is named with file, line and key, exit status 78."""
import os
import sys

sys.path.insert(0, os.path.dirname(__file__))
from coffre import *

DAEMONS = ("coffre-ingest", "coffre-sealer", "coffre-exporter")


def check(daemon, text=None, change=None):
    """Checks the instance's configuration, or a changed copy beside it."""
    text = (RUN / "coffre.yml").read_text() if text is None else text
    file = RUN / "changed.yml"
    if change is not None:
        assert change[0] in text, change
        text = text.replace(*change, 1)
    file.write_text(text)
    try:
        return program(daemon, "--config", file, "--check-config", check=False), text
    finally:
        file.unlink()


def assert_refused(daemon, change, *words):
    done, text = check(daemon, change=change)
    assert done.returncode == 78, done
    line = next(n for n, said in enumerate(text.splitlines(), 1) if change[1].splitlines()[-1] in said)
    assert f"changed.yml:{line}: " in done.stderr, (line, done.stderr)
    for word in words:
        assert word in done.stderr, (word, done.stderr)


def test_the_instance_is_right_for_every_daemon():
    for daemon in DAEMONS:
        done, _ = check(daemon)
        assert done.returncode == 0 and "is correct" in done.stdout, done


def test_an_unknown_key_and_a_bad_value():
    for daemon in DAEMONS:
        assert_refused(daemon, ("state_dir: state", "state_dir: state\nstate_dri: x"), "state_dri")
        assert_refused(daemon, ("  number: 1", "  number: one"), "vault.number", "one")


def test_files_that_are_not_what_they_should_be():
    assert_refused("coffre-ingest", ("key: keys/ingest/ingest.key", "key: pki/sensor-1.key"), "ingest.")
    assert_refused("coffre-exporter", ("certificate: pki/exporter.pem", "certificate: pki/none.pem"), "none.pem")
    assert_refused("coffre-sealer", ("seal_certificate: certificates/seal.pem", "seal_certificate: certificates/absent.pem"), "absent.pem")


def test_events_are_encrypted_for_nobody_but_the_regulator():
    assert_refused("coffre-ingest", ("    - pki/regulator-encryption-next.pem", "    - pki/sensor-1.pem"),
                   "regulator.recipients", "not from the regulator's CA")


run(globals())
