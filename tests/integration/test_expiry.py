#!/usr/bin/python3
"""What ends is said beforehand, in log, journal and status: the vault's own certificates, clients', recipients, seal, time-stamping, CRLs. An override in force is seen by whoever looks."""
import os
import signal
import sys

sys.path[:0] = [os.path.dirname(__file__)]
from holders import *
from revocations import *

SERVER = ["keyUsage=critical,digitalSignature", "extendedKeyUsage=serverAuth", "subjectAltName=DNS:localhost,IP:127.0.0.1"]


def identity_note(vault):
    return re.search(r"(?m)^role identity 0 .*$", vault.status()).group()


def test_everything_that_ends_is_warned_of():
    own = issue(short("serveur"), key="rsa", extensions=SERVER, days=20)
    ending = bind(issue(short("finissant"), days=5))
    recipient = issue(short("destinataire"), ca="regulator-ca", key="rsa", extensions=["keyUsage=critical,keyEncipherment"], days=25)
    with folder() as place:
        put(place, "operator-ca.crl", crl(days="30s", out=RUN / "x.crl").read_bytes())
        (RUN / "x.crl").unlink()
        vault = ingest(ingest__certificate=str(PKI / f"{own}.pem"), ingest__key=str(PKI / f"{own}.key"), revocation__crls=[str(place)],
                       regulator__recipients=[str(PKI / f"{recipient}.pem")], expiry__warn="30d 22d 6d 1h")
        mark = vault.mark()
        with Journal() as journal, vault:
            let_in(ending, vault.port, [StompSensor])
            for name, left in [(f"certificate .*{own}.pem", "19 d"), (f"certificate .*{recipient}.pem", "24 d"), (f"client .*CN={ending}", "4 d"),
                               ("CRL of .*operator-ca.crl", "[0-9-]+ s")]:
                mark.says("code=expiry", name, f"{left}|is over")
                journal.wait("expiry", name=name, left=left)
            assert mark.count(f"code=expiry.*{own}.pem") == 1, "a warning is given once"
            wait_until(lambda: "CRL of" in identity_note(vault), SOON, lambda: f"the status says what ends first: {identity_note(vault)}")
            crl(out=RUN / "x.crl")
            put(place, "operator-ca.crl", (RUN / "x.crl").read_bytes())
            (RUN / "x.crl").unlink()
            wait_until(lambda: re.search(f"client .*{ending}.* ends in 4 d", identity_note(vault)), SOON, lambda: f"and then what is next: {identity_note(vault)}")
            vault.reload({"expiry.warn": "1h"})
            wait_until(lambda: "ends in" not in identity_note(vault), SOON, lambda: f"nothing ends within an hour: {identity_note(vault)}")


def test_seal_and_time_stamping_certificates_are_watched():
    """By the sealer, which has no front: with distances longer than their lives."""
    flat = settings("coffre-sealer")
    seal, tsa = (flat[key].strip('"') for key in ("sealer.seal_certificate", "sealer.tsa_certificate"))
    with Journal() as journal:
        config = (RUN / "coffre.yml").read_text()
        assert "expiry:" not in config
        try:
            (RUN / "coffre.yml").write_text(config + "\nexpiry:\n  warn: 30000d\n")
            os.kill(pid_of("coffre-sealer"), signal.SIGHUP)
            for path in (seal, tsa):
                journal.wait("expiry", name=f"certificate .*{os.path.basename(path)}")
        finally:
            (RUN / "coffre.yml").write_text(config)
            os.kill(pid_of("coffre-sealer"), signal.SIGHUP)


def test_an_override_in_force_is_seen():
    with ingest() as vault, exporter() as site:
        ceremony("override", "--profile", "depositor", "--for", "10m", "--reason", "essai")
        ceremony("override", "--profile", "technical", "--for", "10m", "--reason", "essai")
        try:
            wait_until(lambda: "OVERRIDE: revocation is not asked for depositor until" in identity_note(vault), SOON, lambda: identity_note(vault))
            wait_until(lambda: re.search("OVERRIDE.*technical", json.dumps(curl("/readyz", "tech-admin-1", site.port)[1])), SOON, "/readyz says so")
        finally:
            for profile in ("depositor", "technical"):
                ceremony("override", "--end", "--profile", profile)
        wait_until(lambda: "OVERRIDE" not in identity_note(vault), SOON, "it is over")


if __name__ == "__main__":
    run(globals())
