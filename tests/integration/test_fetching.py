#!/usr/bin/python3
"""What identity fetches and keeps: redirections, many URLs of which one is dead, lists as large as they may be, old OCSP answers played again, and what is known
after identity has been killed. Settings other than the instance's are tried on further daemons of the same vault.
"""
import os
import pathlib
import random
import signal
import subprocess
import sys

sys.path[:0] = [os.path.dirname(__file__)]
from holders import *
from revocations import *


def lists(*names, **more):
    """Settings of a daemon that fetches these lists every second."""
    return {"revocation__crls": None, "revocation__fetch": list(names), "revocation__fetch_every": "1s", "revocation__timeout": "500ms", **more}


def kill(vault, role):
    """kill -9, and waits until it is there again."""
    before = vault.role(role)
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: vault.role(role) not in (None, before) and vault.front_ready(), SOON, f"{role} is started again")


# ---- redirections ----------------------------------------------------------------------------------------

def test_redirections_are_followed_to_where_they_may_lead():
    good = sensor()
    with CrlServer() as server:
        for n in range(5):
            server.serve(f"hop{n}", server.redirect(server.url(f"hop{n + 1}")))
        server.serve("hop5", PKI / "crl/operator-ca.crl")
        with ingest(**lists(server.url("hop2"))) as vault: # three: hop3, hop4, hop5
            let_in(good, vault.port, [StompSensor])
        with ingest(**lists(server.url("hop1"))) as vault:
            vault.mark().says("crl-refused", "hop1", "more than 3 redirections") # it is at each try
            kept_out(good, UNKNOWN, at=vault.port, kinds=[StompSensor])


def test_redirections_lead_nowhere_inside():
    """The server is on loopback; other places inside are as far from it as loopback is from a server outside. Numbers are addresses too, however they are written."""
    cases = {"private": ("http://10.1.2.3/x", "redirected to 10.1.2.3, which is inside"),
             "shared": ("http://100.64.0.1/x", "redirected to 100.64.0.1"),
             "metadata": ("http://169.254.169.254/latest", "redirected to 169.254.169.254"),
             "number": ("http://167772161/x", "redirected to 10.0.0.1"),
             "mapped": ("http://[::ffff:10.0.0.1]/x", "redirected to ::ffff:10.0.0.1"),
             "local": ("http://[fd00::1]/x", "redirected to fd00::1"),
             "broadcast": ("http://255.255.255.255/x", "redirected to 255.255.255.255"),
             "file": (f"file://{PKI}/crl/operator-ca.crl", "no http: or https: URL"),
             "gopher": ("gopher://127.0.0.1/x", "no http: or https: URL"),
             "nothing": ("", "without a place to go to|no http")}
    with CrlServer() as server:
        for name, (place, _) in cases.items():
            server.serve(name, server.redirect(place))
        vault = ingest(**lists(*map(server.url, cases)))
        mark = vault.mark()
        with vault:
            for name, (_, why) in cases.items():
                mark.says("crl-refused", f"/{name}: ", why)


def test_limits_hold_over_all_redirections():
    """Of size and of time: a server that answers each hop just in time, or with as much as it may, gets nowhere."""
    whole = (PKI / "crl/operator-ca.crl").read_bytes()

    def late(location):
        def way(request, name):
            server.ending.wait(1.2) # of 3 s (six times revocation.timeout) in all
            server.redirect(location)(request, name)
        return way

    def large(location):
        def way(request, _name):
            request.send_response(302)
            request.send_header("Location", location)
            request.send_header("Content-Length", str(20000))
            request.end_headers()
            request.wfile.write(b"x" * 20000)
        return way
    with CrlServer() as server:
        server.serve("end", whole)
        for n, location in enumerate(["slow1", "slow2", "end"]):
            server.serve(f"slow{n}", late(server.url(location)))
        for n, location in enumerate(["large1", "large2", "end"]):
            server.serve(f"large{n}", large(server.url(location)))
        with ingest(**lists(server.url("slow0"))) as vault:
            vault.mark().says("crl-refused", "slow0", "within|in time|too long")
        with ingest(**lists(server.url("large0"), revocation__crl_bytes=50000)) as vault:
            vault.mark().says("crl-refused", "large0", "more than 50000 bytes")


def test_a_question_is_not_sent_elsewhere():
    name = sensor()
    with Responder() as responder, Relay(responder) as real, Relay(responder) as relay:
        relay.way = lambda _request: f"HTTP/1.1 307 Off\r\nLocation: {real.url}\r\nContent-Length: 0\r\n\r\n".encode()
        with ingest(**asks(relay.url, revocation__crls=None)) as vault:
            mark = vault.mark()
            kept_out(name, UNKNOWN, at=vault.port, kinds=[StompSensor])
            mark.says("ocsp-failed", "HTTP status 307: questions are not sent elsewhere")
        assert relay.asked and not real.asked


# ---- several URLs ------------------------------------------------------------------------------------------

def test_dead_urls_delay_nobody():
    """Ten that are silent, dead or wrong, before and behind two good ones."""
    bad = sensor()
    agent = reader()
    with CrlServer() as server:
        for n in range(6):
            server.serve(f"silent{n}", server.silent)
        server.serve("operator", PKI / "crl/operator-ca.crl")
        server.serve("regulator", PKI / "crl/regulator-ca.crl")
        names = [server.url(f"silent{n}") for n in range(3)] + [dead_url(), server.url("absent"), server.url("operator")] + \
                [server.url(f"silent{n}") for n in range(3, 6)] + [dead_url(), server.url("regulator")]
        with ingest(**lists(*names)) as vault:
            let_in(bad, vault.port, [StompSensor])
            pki("revoke", bad)
            kept_out(bad, REVOKED, at=vault.port, kinds=[StompSensor])
            asked = server.asked.count("operator")
            wait_until(lambda: server.asked.count("operator") > asked + 3, SOON, "the good one is fetched again and again")
        with exporter(**lists(*names)) as vault:
            answers(agent, 200, at=vault.port)


def test_identity_lives_without_fetch():
    """Killed, and killed again: what is in force stays, and what is due is fetched afterwards."""
    good = sensor()
    with CrlServer() as server:
        server.serve("operator", PKI / "crl/operator-ca.crl")
        with ingest(**lists(server.url("operator"))) as vault:
            let_in(good, vault.port, [StompSensor])
            with StompSensor(good, vault.port) as session:
                for _ in range(3):
                    kill(vault, "fetch")
                    session.deposit()
                asked = len(server.asked)
                wait_until(lambda: len(server.asked) > asked + 1, SOON, "it is fetched again")
                pki("revoke", good)
                assert REVOKED in session.cut()


# ---- lists as large as they may be -------------------------------------------------------------------------

def enormous(size):
    """A list of the operator's authority of nearly so many bytes, DER, which revokes no sensor: openssl takes minutes to make one, so its entries are written here and openssl signs."""
    def tlv(tag, *contents):
        body = b"".join(contents)
        length = bytes([len(body)]) if len(body) < 128 else (lambda n: bytes([0x80 | len(n)]) + n)(len(body).to_bytes((len(body).bit_length() + 7) // 8, "big"))
        return bytes([tag]) + length + body

    def utc(moment):
        return tlv(0x17, time.strftime("%y%m%d%H%M%SZ", time.gmtime(moment)).encode())
    now = time.time()
    subject = subprocess.run(["openssl", "x509", "-in", PKI / "operator-ca.pem", "-outform", "DER"], capture_output=True, check=True).stdout
    issuer = name_of(subject)
    date = utc(now - 3600)
    entry = len(tlv(0x30, tlv(2, bytes(16)), date))
    # 0x7f…: no serial number that deploy/pki.sh gives
    entries = b"".join(tlv(0x30, tlv(2, b"\x7f" + n.to_bytes(15, "big")), date) for n in range((size - 2000) // entry))
    algorithm = tlv(0x30, tlv(6, bytes.fromhex("2a864886f70d01010b")), tlv(5)) if b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01" in subject else \
        tlv(0x30, tlv(6, bytes.fromhex("2a8648ce3d040302")))
    number = tlv(0xa0, tlv(0x30, tlv(0x30, tlv(6, bytes.fromhex("551d14")), tlv(4, tlv(2, b"\x70\x00\x00\x00")))))
    signed = tlv(0x30, tlv(2, b"\1"), algorithm, issuer, utc(now - 60), utc(now + 86400), tlv(0x30, entries), number)
    key = PKI / "ca/operator-ca/key.pem" if (PKI / "ca/operator-ca/key.pem").exists() else PKI / "operator-ca.key"
    place = RUN / short("tbs")
    place.write_bytes(signed)
    try:
        signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", key, place], capture_output=True, check=True).stdout
    finally:
        place.unlink()
    return tlv(0x30, signed, algorithm, tlv(3, b"\0", signature))


def name_of(certificate):
    """The subject of a certificate (DER), as its bytes are."""
    def take(at):
        length, head = certificate[at + 1], 2
        if length & 0x80:
            head += length & 0x7f
            length = int.from_bytes(certificate[at + 2:at + head], "big")
        return at + head, at + head + length
    at, _ = take(take(0)[0])
    if certificate[at] == 0xa0:
        at = take(at)[1]
    for _ in range(4): # serial number, algorithm, issuer, validity
        at = take(at)[1]
    return certificate[at:take(at)[1]]


def test_a_list_of_sixteen_mebibytes_stops_nobody():
    """From a file, from a URL, and in PEM: sessions live on, newcomers are judged, nobody is restarted; one byte too many is refused."""
    size = 16 << 20
    large = enormous(size)
    assert size - 4096 < len(large) <= size
    good, bad = sensor(), sensor()
    with folder("operator-ca") as place, CrlServer() as server:
        server.serve("large", large)
        with ingest(revocation__crls=[str(place)], revocation__fetch=[server.url("large")], revocation__fetch_every="2s", revocation__timeout="20s") as vault:
            let_in(good, vault.port, [StompSensor])
            processes = {role: vault.role(role) for role in ("front", "identity", "fetch")}
            with StompSensor(good, vault.port) as session:
                wait_until(lambda: entries(vault) > 300_000, SOON, lambda: f"the list is in force: {entries(vault)} entries")
                mark = vault.mark()
                put(place, "large.der", large)
                mark.says("crl-taken", "large.der")
                put(place, "over.der", large + bytes(size - len(large) + 1))
                mark.says("crl-refused", "over.der", "16777216")
                put(place, "operator-ca.crl", b"not a list")
                let_in(good, vault.port, [StompSensor])
                session.deposit()
            assert processes == {role: vault.role(role) for role in processes}, "a role was started again"
    del bad


def entries(vault):
    return vault.metric("coffre_identity_crl_entries") or 0


def test_a_gigabyte_is_refused_by_its_size():
    """A sparse file: nothing of it is read."""
    good = sensor()
    with folder("operator-ca") as place:
        with open(place / "gigabyte.crl", "wb") as sparse:
            sparse.truncate(GIGABYTE)
        (place / "gigabyte.crl").chmod(0o644)
        vault = ingest(revocation__crls=[str(place)])
        mark = vault.mark()
        with vault:
            mark.says("crl-refused", "gigabyte.crl", "1073741824 bytes, at most 16777216")
            let_in(good, vault.port, [StompSensor])
            memory = int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{vault.role('identity')}/status").read_text()).group(1))
            assert memory < 128 * 1024, f"identity took {memory} kB"


# ---- OCSP answers played again -----------------------------------------------------------------------------

def test_an_older_good_takes_no_revocation_back():
    """The responder's own "good" from before, valid for an hour and without a nonce; also after identity was killed. What is newer lifts a hold."""
    name = sensor()
    with Responder() as responder, Relay(responder) as relay:
        before = responder.answer(name)
        with ingest(**asks(relay.url, revocation__crls=None)) as vault:
            let_in(name, vault.port, [StompSensor])
            time.sleep(1.1) # thisUpdate has seconds
            pki("revoke", name, "certificateHold")
            kept_out(name, REVOKED, at=vault.port, kinds=[StompSensor])
            relay.way = relay.replayed(before)
            refused_as_older(vault, name)
            kill(vault, "identity")
            refused_as_older(vault, name)
            release(name)
            relay.way = relay.through
            let_in(name, vault.port, [StompSensor])


def refused_as_older(vault, name):
    """The old answer comes, is told apart, and changes nothing."""
    mark = vault.mark()

    def so():
        said = refusal(StompSensor, name, vault.port)
        assert said and REVOKED in said, said
        return re.search("code=ocsp-failed.*older than the last one", mark.text())
    wait_until(so, SOON, "the old answer is refused as such")
    for _ in range(3):
        assert REVOKED in refusal(StompSensor, name, vault.port)


def release(name):
    """The authority lifts the hold: its database says valid again."""
    number = serial(name).lstrip("0")
    for index in (PKI / "ca").glob("*/index.txt"):
        lines = [line.split("\t") for line in index.read_text().splitlines()]
        for fields in lines:
            if fields[3].lstrip("0") == number:
                fields[0], fields[2] = "V", ""
        new = index.with_suffix(".new")
        new.write_text("".join("\t".join(fields) + "\n" for fields in lines))
        new.rename(index)
        os.chown(index, OWNER.st_uid, OWNER.st_gid)


# ---- what is known stays known -----------------------------------------------------------------------------

@contextlib.contextmanager
def override():
    ceremony("override", "--profile", "depositor", "--for", "10m", "--reason", "essai")
    try:
        yield
    finally:
        ceremony("override", "--end", "--profile", "depositor")


def test_a_revocation_is_known_after_its_list_has_ended_and_identity_was_killed():
    revoked, good = sensor(), sensor()
    pki("revoke", revoked)
    with folder() as place:
        put(place, "operator-ca.crl", crl(days="20s", out=RUN / "x.crl").read_bytes()) # of which the start takes some
        (RUN / "x.crl").unlink()
        with ingest(revocation__crls=[str(place)]) as vault:
            kept_out(revoked, REVOKED, at=vault.port, kinds=[StompSensor])
            kept_out(good, UNKNOWN, at=vault.port, kinds=[StompSensor]) # the list has ended
            with override():
                let_in(good, vault.port, [StompSensor])
                kept_out(revoked, REVOKED, at=vault.port, kinds=[StompSensor])
                kill(vault, "identity")
                let_in(good, vault.port, [StompSensor])
                assert REVOKED in refusal(StompSensor, revoked, vault.port)
                put(place, "operator-ca.crl", b"nonsense") # what was taken last is known all the same
                kill(vault, "identity")
                let_in(good, vault.port, [StompSensor])
                assert REVOKED in refusal(StompSensor, revoked, vault.port)


def test_an_ocsp_revocation_is_known_after_identity_was_killed():
    revoked, good = sensor(), sensor()
    with Responder() as responder, Relay(responder) as relay:
        with ingest(**asks(relay.url, revocation__crls=None)) as vault:
            let_in(revoked, vault.port, [StompSensor])
            pki("revoke", revoked)
            kept_out(revoked, REVOKED, at=vault.port, kinds=[StompSensor])
            relay.way = relay.cut
            with override():
                kill(vault, "identity")
                let_in(good, vault.port, [StompSensor])
                assert REVOKED in refusal(StompSensor, revoked, vault.port)


def test_a_list_replaced_by_a_broken_one_is_in_force_after_a_restart():
    good, bad = sensor(), sensor()
    pki("revoke", bad)
    with folder("operator-ca") as place, ingest(revocation__crls=[str(place)]) as vault:
        let_in(good, vault.port, [StompSensor])
        mark = vault.mark()
        put(place, "operator-ca.crl", b"nonsense")
        mark.says("crl-refused", "operator-ca.crl")
        mark = vault.mark()
        kill(vault, "identity")
        mark.says("crl-taken", "operator-ca.crl", "kept from before")
        mark.says("crl-refused", "operator-ca.crl")
        let_in(good, vault.port, [StompSensor])
        kept_out(bad, REVOKED, at=vault.port, kinds=[StompSensor])
        (place / "operator-ca.crl").unlink() # on purpose: nothing is kept of it
        kept_out(good, UNKNOWN, at=vault.port, kinds=[StompSensor])
        kill(vault, "identity")
        kept_out(good, UNKNOWN, at=vault.port, kinds=[StompSensor])


# ---- without identity --------------------------------------------------------------------------------------

def test_to_take_a_list_away_is_no_way_back():
    """Who can write the folder takes the list away that revokes, and puts one there from before: nothing is known then, but not that nobody is revoked."""
    good, bad = sensor(), sensor()
    before, now = (PKI / "crl/operator-ca.crl").read_bytes(), lambda: (PKI / "crl/operator-ca.crl").read_bytes()
    pki("revoke", bad)
    with folder("operator-ca") as place, ingest(revocation__crls=[str(place)]) as vault:
        let_in(good, vault.port, [StompSensor])
        kept_out(bad, REVOKED, at=vault.port, kinds=[StompSensor])
        mark = vault.mark()
        (place / "operator-ca.crl").unlink()
        mark.says("crl-dropped", "operator-ca.crl")
        for name in ("operator-ca.crl", "another.crl"):
            put(place, name, before)
            mark.says("crl-refused", name, "was taken away")
        kept_out(bad, UNKNOWN, at=vault.port, kinds=[StompSensor])
        put(place, "operator-ca.crl", now())
        let_in(good, vault.port, [StompSensor])
        kept_out(bad, REVOKED, at=vault.port, kinds=[StompSensor])


def test_a_folder_that_cannot_be_read_is_not_empty():
    """Neither one whose path is broken, nor a file that leads in a circle."""
    good, bad = sensor(), sensor()
    pki("revoke", bad)
    with folder("operator-ca") as place, ingest(revocation__crls=[str(place)]) as vault:
        let_in(good, vault.port, [StompSensor])
        aside = place.with_name(place.name + "-aside")
        place.rename(aside)
        try:
            mark = vault.mark()
            place.symlink_to(place.name)
            mark.says("crl-unreadable", place.name)
            time.sleep(7) # a file that is away for five seconds is forgotten
            assert refusal(StompSensor, good, vault.port) is None
            assert REVOKED in refusal(StompSensor, bad, vault.port)
        finally:
            place.unlink()
            aside.rename(place)
        mark = vault.mark()
        put(place, "operator-ca.crl", b"nonsense")
        mark.says("crl-refused", "operator-ca.crl")


def test_verdicts_outlive_identity_for_a_while_only():
    """It cannot begin again, its authorities being broken: sessions go on, and are cut when nobody has looked for too long (a minute; half a minute at the exporter)."""
    name, agent = sensor(), reader()
    bundles = {}
    for ca in ("operator-ca", "regulator-ca"):
        bundles[ca] = RUN / f"{short(ca)}.pem"
        bundles[ca].write_bytes((PKI / f"{ca}.pem").read_bytes())
        bundles[ca].chmod(0o644)
    try:
        with ingest(operator__ca=str(bundles["operator-ca"])) as vault, Another("coffre-exporter", {"regulator.ca": str(bundles["regulator-ca"])}) as site:
            let_in(name, vault.port)
            answers(agent, 200, at=site.port)
            with StompSensor(name, vault.port) as by_stomp, OpenWireSensor(name, vault.port) as by_openwire, Journal() as journal:
                for ca, daemon in (("operator-ca", vault), ("regulator-ca", site)):
                    bundles[ca].write_text("nothing\n")
                    before = daemon.role("identity")
                    os.kill(before, signal.SIGKILL)
                    wait_until(lambda: "ready" not in re.search(r"(?m)^role identity 0 .*$", daemon.status()).group().replace("not-ready", ""), SOON, "identity cannot begin")
                by_stomp.deposit() # what it said last is believed
                by_openwire.deposit()
                for session in (by_stomp, by_openwire):
                    session.c.socket.settimeout(3 * SOON)
                    while True:
                        try:
                            session.deposit()
                        except (Refused, Thrown, *GONE, ssl.SSLError):
                            break
                        time.sleep(0.5)
                journal.wait("session-cut", cn=name, check="not-verifiable")
                wait_until(lambda: curl("/check", agent, site.port)[0] != 200, SOON, "a reader is not let in")
                for ca, daemon in (("operator-ca", vault), ("regulator-ca", site)):
                    bundles[ca].write_bytes((PKI / f"{ca}.pem").read_bytes())
                let_in(name, vault.port)
                answers(agent, 200, at=site.port)
    finally:
        for bundle in bundles.values():
            bundle.unlink()


# ---- what strangers bring about ----------------------------------------------------------------------------

def test_refusals_without_end_are_not_written_one_by_one():
    """The others are counted, and told at the end of the daemon if not before."""
    name, flood = sensor(), 150
    with folder() as place, Journal() as journal:
        recorded = lambda: len(journal.find("revocation-unknown", cn=f"^{name}$"))
        counted = lambda: sum(int(r["fields"]["records"]) for r in journal.find("revocation-unknown-omitted", issuer="."))
        with ingest(revocation__crls=[str(place)]) as vault:
            mark = vault.mark()
            kept_out(name, UNKNOWN, at=vault.port, kinds=[StompSensor])
            for _ in range(flood):
                refusal(StompSensor, name, vault.port, deposits=False)
            assert 0 < mark.count("code=revocation-unknown") <= 101, mark.count("code=revocation-unknown")
            assert vault.stop() == 0
        wait_until(lambda: recorded() + counted() >= flood, SOON, lambda: f"{recorded()} records and {counted()} counted make {flood} and those of before")
        assert 0 < recorded() < flood and counted() > 0, (recorded(), counted())


def huge_client():
    """A context that shows 40 KiB of its authority's certificate behind its own."""
    chain = RUN / short("enorme")
    chain.write_bytes((PKI / "sensor-1.pem").read_bytes() + (PKI / "operator-ca.pem").read_bytes() * 80)
    context = ssl.create_default_context(cafile=str(PKI / "trust.pem"))
    context.load_cert_chain(chain, PKI / "sensor-1.key")
    chain.unlink()
    return context


def knock(at, context, source):
    """What is answered to a request after that handshake."""
    try:
        with socket.create_connection(("127.0.0.1", at), timeout=SOON, source_address=(source, 0)) as raw, context.wrap_socket(raw, server_hostname="localhost") as c:
            c.sendall(b"GET /check HTTP/1.1\r\nHost: localhost\r\n\r\n")
            return c.recv(1000)
    except (*GONE, ssl.SSLError, OSError):
        return b""


def test_an_enormous_chain_ends_the_handshake():
    """On both ports, which both journal it, but not each of a flood."""
    context, source = huge_client(), f"127.{random.randrange(1, 255)}.{random.randrange(1, 255)}.76" # its own: a minute's count may be another test's
    for name, at in (("coffre-ingest", port("STOMP")), ("coffre-exporter", port("HTTPS"))):
        mark = daemon_log(name)
        with Journal() as journal:
            recorded = lambda: [r for r in journal.find("session-refused", check="certificate-constraints", reason="more than 32768 bytes", peer=f"^{source}:") if r["daemon"] == name]
            for _ in range(12):
                said = knock(at, context, source)
                assert not said, f"{name}: {said}"
            mark.says("more than 32768 bytes of certificates")
            wait_until(recorded, SOON, f"{name} journals a handshake refused")
            assert len(recorded()) < 12, recorded()


if __name__ == "__main__":
    run(globals(), beside=[test_verdicts_outlive_identity_for_a_while_only])
