#!/usr/bin/python3
"""The exporter's HTTP interface: who may what, conditions and ranges, strangers' bytes, and coffre-extract through interruptions."""
import contextlib
import hashlib
import io
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import uuid
import zipfile

from another import Journal, bind, unbind
from coffre import BIN, DATABASE, PKI, ROOT, RUN, children, deposit, event, extract, http, identity, pid_of, port, program, query, run, tls, unique, value, \
    wait_sealed, wait_until
from pki_servers import free_port, issue

EVERYONE = ["reader-1", "tech-admin-1", "func-admin-1", "sensor-1", "stranger", "foreign", None]


def folder():
    return tempfile.mkdtemp(prefix="coffre-exporter-")


def setup():
    """A few lots of their own, and one extraction over all of them; the numbers are remembered in `made`."""
    wait_until(lambda: http("/readyz", "tech-admin-1")[0] == 200, 60, "the vault is ready, whatever was done to it before")
    last = deposited(*([event(unique("exporter") + "x" * 900) for _ in range(40)] for _ in range(3)))
    return {"last": last, "extraction": extraction(last - 60, last), "lot": value("SELECT lot FROM event WHERE serial = %s", last)}


def deposited(*lots):
    """Deposits these lists of events, one after the other, and waits until they are sealed; the serial of the last."""
    place = folder()
    for number, events in enumerate(lots):
        with open(f"{place}/{number}.xml", "wb") as out:
            out.writelines(body + b"\n" for body in events)
        deposit("--follow", "archived", f"{place}/{number}.xml")
    shutil.rmtree(place)
    last = value("SELECT max(serial) FROM event")
    wait_sealed(last)
    return last


def extraction(first, last):
    status, _, body = http("/v1/extractions", method="POST", body={"serials": {"first": first, "last": last}})
    assert status == 201, body
    return json.loads(body)


made = setup()
segment_path = made["extraction"]["segments"][0]["location"]


# ---- who ------------------------------------------------------------------------------------------------

def test_every_profile_has_its_rights_and_no_others():
    paths = {"/livez": "all", "/readyz": "all", "/check": "rtf", "/v1/status": "rtf", "/v1/lots": "rtf", f"/v1/lots/{made['lot']}": "rf",
             f"/v1/events/{made['last']}": "r", "/v1/extractions": "r", f"/v1/extractions/{made['extraction']['id']}": "r", segment_path: "r"}
    letters = {"reader-1": "r", "tech-admin-1": "t", "func-admin-1": "f"}
    for who in EVERYONE:
        for path, allowed in paths.items():
            status, _, body = http(path, who)
            expected = 200 if allowed == "all" or letters.get(who, "-") in allowed else 401 if who in ("foreign", None) else 403
            assert status == expected, (who, path, status, body[:200])
            if status != 200:
                assert json.loads(body)["status"] == status and json.loads(body)["reason"]


def test_refused_certificates_are_told_why():
    def code(who):
        status, head, body = http("/check", who)
        assert "connection: close" in head.lower() or status == 403
        return status, json.loads(body)["code"]
    assert code(None) == (401, "certificate-missing")
    assert code("foreign") == (401, "certificate-foreign")
    assert code("stranger") == (403, "not-bound")
    place = folder()
    try:
        # Same authority and subject as the reader's: expired, and with a server's usage.
        for name, usage, days in (("expired", "clientAuth", ["-not_before", "20200101000000Z", "-not_after", "20200201000000Z"]),
                                  ("usage", "serverAuth", ["-days", "5"])):
            make_certificate(place, name, usage, days)
            words = ["curl", "-sS", "--cacert", str(PKI / "trust.pem"), "--cert", f"{place}/{name}.pem", "--key", f"{place}/{name}.key",
                     f"https://localhost:{port('HTTPS')}/check"]
            answer = json.loads(subprocess.run(words, capture_output=True, check=True).stdout)
            assert answer["status"] == 401 and answer["code"] == f"certificate-{name}", answer
    finally:
        shutil.rmtree(place)


def make_certificate(place, name, usage, days):
    subject = subprocess.run(["openssl", "x509", "-in", PKI / "reader-1.pem", "-noout", "-subject", "-nameopt", "RFC2253"],
                             capture_output=True, text=True, check=True).stdout
    parts = dict(re.findall(r"(\w+)=([^,\n]+)", subject.split("=", 1)[1]))
    with open(f"{place}/ca.cnf", "w") as out:
        out.write(f"[ca]\ndefault_ca=d\n[d]\ndatabase={place}/index\nserial={place}/serial\nnew_certs_dir={place}\ndefault_md=sha256\n"
                  f"policy=p\nunique_subject=no\n[p]\nC=optional\nO=optional\nOU=optional\nCN=supplied\n[x]\nkeyUsage=digitalSignature\nextendedKeyUsage={usage}\n")
    open(f"{place}/index", "w").close()
    with open(f"{place}/serial", "w") as out:
        out.write("77\n")
    run_words = lambda *words: subprocess.run(list(map(str, words)), capture_output=True, check=True)
    run_words("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{place}/{name}.key",
              "-out", f"{place}/{name}.csr", "-utf8", "-subj", f"/OU={parts['OU']}/CN={parts['CN']}")
    run_words("openssl", "ca", "-batch", "-notext", "-config", f"{place}/ca.cnf", "-cert", PKI / "regulator-ca.pem", "-keyfile",
              PKI / "regulator-ca.key", "-in", f"{place}/{name}.csr", "-out", f"{place}/{name}.pem", "-extensions", "x",
              *[word.replace("-not_before", "-startdate").replace("-not_after", "-enddate") for word in days])


def large_segment():
    """The path of a segment that no socket buffers hold whole."""
    last = deposited([event(unique("large") + "x" * 900_000) for _ in range(24)])
    return extraction(last - 23, last)["segments"][0]["location"]


def test_a_reader_unbound_is_cut_in_the_middle_of_an_answer_and_others_are_not():
    agent, path = bind(issue(f"lecteur-{uuid.uuid4().hex[:8]}", ca="regulator-ca"), "reader"), large_segment()
    wait_until(lambda: http("/check", agent)[0] == 200, 60, "the new reader is served")
    streams = {}
    for who in (agent, "reader-1"):
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        raw.settimeout(60)
        raw.connect(("127.0.0.1", port("HTTPS")))
        streams[who] = tls(who).wrap_socket(raw, server_hostname="localhost")
        streams[who].sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert streams[who].recv(9) == b"HTTP/1.1 "
    with Journal() as journal:
        unbind(agent, "reader")
        journal.wait("session-cut", cn=agent, check="not-bound")

    def rest(c):
        """Whether the whole answer came."""
        head = b""
        try:
            while b"\r\n\r\n" not in head:
                head += c.recv(1 << 16)
            left = int(re.search(rb"(?i)content-length: (\d+)", head).group(1)) - len(head.partition(b"\r\n\r\n")[2])
            while left > 0 and (more := c.recv(1 << 20)):
                left -= len(more)
        except OSError:
            return False
        return left == 0
    assert not rest(streams[agent]), "the whole answer came although its reader was unbound"
    assert rest(streams["reader-1"]), "another reader was cut too"
    status, _, body = http("/check", agent)
    assert status == 403 and json.loads(body)["code"] == "not-bound"


def test_an_answer_ends_when_nobody_checks_certificates_any_more():
    """A process that judges certificates and hangs is believed for half a minute: then a download, however slow, is no longer sent."""
    path, ended = large_segment(), []
    raw = socket.create_connection(("127.0.0.1", port("HTTPS")), timeout=60)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    c = tls("reader-1").wrap_socket(raw, server_hostname="localhost")
    c.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    got = c.recv(65536)
    length = int(re.search(rb"(?i)content-length: (\d+)", got).group(1))
    hanging = children(pid_of("coffre-exporter"))["identity"][0]

    def read_slowly():
        count = len(got)
        try:
            while count < length and (more := c.recv(32768)):
                count += len(more)
                time.sleep(0.2)
        except OSError:
            pass
        ended.append(count)
    with Journal() as journal:
        os.kill(hanging, signal.SIGSTOP)
        reading = threading.Thread(target=read_slowly)
        reading.start()
        journal.wait("session-cut", seconds=120, cn="^reader-1$", check="^not-verifiable$")
        reading.join(60)
    assert ended and ended[0] < length, f"{ended} of {length} bytes came"
    # The one that hung is ended, and the next one judges everybody again.
    wait_until(lambda: children(pid_of("coffre-exporter")).get("identity", [hanging])[0] != hanging, 60, "identity is started again")
    wait_until(lambda: http("/check")[0] == 200, 60, "readers are served again")


# ---- bytes ------------------------------------------------------------------------------------------------

def talk_open(who="reader-1"):
    raw = socket.create_connection(("localhost", port("HTTPS")), timeout=60)
    return tls(who).wrap_socket(raw, server_hostname="localhost")


def read_answer(connection, head_only=False):
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            raise ConnectionError(f"closed after {data!r}")
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(re.search(rb"(?i)content-length: (\d+)", head).group(1))
    while len(body) < length and not head_only:
        more = connection.recv(65536)
        if not more:
            raise ConnectionError(f"closed after {len(body)} of {length} bytes")
        body += more
    return int(head.split()[1]), head.decode(), body


def ask(connection, text):
    connection.sendall(text.encode() if isinstance(text, str) else text)
    return read_answer(connection)


def test_pipelined_requests_are_answered_in_order():
    connection = talk_open()
    paths = ["/livez", "/v1/status", "/nothing", f"/v1/lots/{made['lot']}", "/check"]
    connection.sendall("".join(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n" for path in paths).encode())
    connection.settimeout(60)
    data = b""
    statuses = []

    def more():
        came = connection.recv(65536)
        assert came, (statuses, data)
        return came
    for _ in paths:
        while b"\r\n\r\n" not in data:
            data += more()
        head, _, data = data.partition(b"\r\n\r\n")
        length = int(re.search(rb"(?i)content-length: (\d+)", head).group(1))
        while len(data) < length:
            data += more()
        data = data[length:]
        statuses.append(int(head.split()[1]))
    assert statuses == [200, 200, 404, 200, 200], statuses
    connection.close()


def test_requests_that_arrive_byte_by_byte_are_answered():
    connection = talk_open()
    for byte in b"GET /check HTTP/1.1\r\nHost: a\r\n\r\n":
        connection.sendall(bytes([byte]))
    assert read_answer(connection)[0] == 200
    body = json.dumps({"lots": {"first": 1, "last": 1}}).encode()
    connection.sendall(b"POST /v1/extractions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
                       b"Content-Length: %d\r\n\r\n" % len(body))
    assert connection.recv(100).startswith(b"HTTP/1.1 100 Continue")
    for byte in body:
        connection.sendall(bytes([byte]))
    assert read_answer(connection)[0] == 201
    connection.close()


def test_what_is_malformed_is_refused_and_the_connection_ends():
    cases = [(b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505), (b"GET /../etc HTTP/1.1\r\nHost: a\r\n\r\n", 400), (b"GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
             (b"GET / HTTP/1.1\r\n\r\n", 400), (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400), (b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n", 400),
             (b"POST /v1/extractions HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
             (b"POST /v1/extractions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
             (b"POST /v1/extractions HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n", 413), (b"GET /" + b"a" * 3000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
             (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 20000 + b"\r\n\r\n", 431), (b"\0\1\2\3", 400)]
    for data, expected in cases:
        connection = talk_open()
        status, head, body = ask(connection, data)
        assert status == expected, (data[:60], status, body)
        assert "connection: close" in head.lower() and json.loads(body)["reason"].startswith("RFC ")
        assert connection.recv(10) == b""
        connection.close()


def test_methods_media_types_and_bodies_are_checked():
    status, head, _ = http("/check", method="DELETE")
    assert status == 405 and re.search(r"(?im)^allow: GET, HEAD\r?$", head)
    status, head, _ = http("/v1/extractions", method="PUT", body="{}")
    assert status == 405 and re.search(r"(?im)^allow: GET, HEAD, POST\r?$", head)
    for body, code in (("{", "json"), ("[]", "json-object"), ("{}", "range-missing"), ({"lots": {"first": 2, "last": 1}}, "range-empty"),
                       ({"serials": {"first": "1", "last": 2}}, "range-number"), ({"dates": {"from": "hier", "to": "demain"}}, "range-date"),
                       ({"lots": {"first": 1, "last": 1}, "format": "tar"}, "member-unknown")):
        status, _, answer = http("/v1/extractions", method="POST", body=body)
        assert status == 400 and json.loads(answer)["code"] == code, (body, answer)
    connection = talk_open()
    status, _, answer = ask(connection, "POST /v1/extractions HTTP/1.1\r\nHost: a\r\nContent-Type: text/xml\r\nContent-Length: 2\r\n\r\n{}")
    assert status == 415, answer
    # The connection goes on after a refusal of content that was framed well.
    assert ask(connection, "GET /check HTTP/1.1\r\nHost: a\r\n\r\n")[0] == 200
    connection.close()


def test_what_is_unknown_or_not_sealed_is_explained():
    for path in ("/v1/lots/999999", "/v1/events/999999999", "/v1/extractions/999999", f"/v1/extractions/{made['extraction']['id']}/segments/99",
                 "/v1/lots/0", "/v1/lots/01", "/v1/lots/x", "/"):
        status, _, body = http(path)
        assert status == 404 and json.loads(body)["reason"], (path, body)
    status, _, body = http("/v1/extractions", method="POST", body={"lots": {"first": 1, "last": 999999}})
    assert status == 404 and json.loads(body)["code"] == "lot-unknown", body
    unsealed = value("SELECT lot FROM head")
    status, _, body = http("/v1/extractions", method="POST", body={"lots": {"first": 1, "last": unsealed}})
    assert status == 409 and json.loads(body)["code"] == "not-sealed", body
    status, _, body = http(f"/v1/lots/{unsealed}")
    assert status == 404 and json.loads(body)["code"] == "not-sealed", body


# ---- representations ----------------------------------------------------------------------------------------

def test_ranges_and_conditions():
    for path in (segment_path, f"/v1/lots/{made['lot']}", f"/v1/events/{made['last']}"):
        _, head, whole = http(path)
        tag = re.search(r'(?im)^etag: (".*")\r?$', head).group(1)
        size = len(whole)
        for spec, expected in (("0-0", whole[:1]), (f"{size - 1}-", whole[-1:]), ("-7", whole[-7:]), (f"-{size * 2}", whole), ("100-299", whole[100:300]),
                               (f"{size // 2}-{size * 9}", whole[size // 2:])):
            status, part_head, part = http(path, headers=[f"Range: bytes={spec}"])
            assert status == 206 and part == expected, (path, spec, status, len(part))
            first = size - len(expected) if spec.startswith("-") else int(spec.split("-")[0])
            assert f"bytes {first}-{first + len(expected) - 1}/{size}" in part_head
        for spec in (f"{size}-", "-0", "99999999999999999999-"):
            status, part_head, _ = http(path, headers=[f"Range: bytes={spec}"])
            assert status == 416 and f"bytes */{size}" in part_head
        for spec in ("bytes=5-2", "bytes=0-1,3-4", "lines=0-1"):
            assert http(path, headers=[f"Range: {spec}"])[::2] == (200, whole)
        assert http(path, headers=["Range: bytes=0-9", f"If-Range: {tag}"])[0] == 206
        assert http(path, headers=["Range: bytes=0-9", 'If-Range: "other"'])[::2] == (200, whole)
        assert http(path, headers=[f"If-None-Match: {tag}"])[0] == 304
        assert http(path, headers=['If-Match: "other"'])[0] == 412


def test_every_offset_near_a_boundary_gives_the_same_bytes():
    _, _, whole = http(segment_path)
    archive = zipfile.ZipFile(io.BytesIO(whole))
    offsets = sorted({info.header_offset for info in archive.infolist()} | {len(whole) - n for n in (1, 22, 42, 98, 200)})
    connection = talk_open()
    for offset in offsets[:: max(1, len(offsets) // 60)]:
        for at in (offset - 1, offset, offset + 31):
            if not 0 <= at < len(whole):
                continue
            status, _, body = ask(connection, f"GET {segment_path} HTTP/1.1\r\nHost: a\r\nRange: bytes={at}-{at + 999}\r\n\r\n")
            assert status == 206 and body == whole[at:at + 1000], at
    connection.close()


def test_head_says_what_get_would():
    for path in (segment_path, f"/v1/lots/{made['lot']}", "/v1/status"):
        _, head, whole = http(path)
        connection = talk_open()
        connection.sendall(f"HEAD {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        status, said, body = read_answer(connection, head_only=True)
        assert status == 200 and body == b"" and connection.recv(10) == b""
        if path != "/v1/status":
            assert f"Content-Length: {len(whole)}" in said
            assert re.search("(?im)^etag: (.*)$", said).group(1).strip() == re.search("(?im)^etag: (.*)$", head).group(1).strip()
        connection.close()


def test_a_container_is_named_by_its_digest_and_segments_are_deterministic():
    _, head, body = http(f"/v1/lots/{made['lot']}")
    assert f'"{hashlib.sha256(body).hexdigest()}"' in head and "application/vnd.etsi.asic-e+zip" in head
    _, _, first = http(segment_path)
    _, _, second = http(segment_path)
    assert first == second and len(first) == made["extraction"]["segments"][0]["bytes"]
    status, _, body = http("/v1/extractions", method="POST", body=made["extraction"]["request"])
    assert status == 201
    assert http(json.loads(body)["segments"][0]["location"])[2] == first


def test_a_segment_is_a_zip_that_stock_tools_read():
    place = folder()
    _, _, whole = http(segment_path)
    with open(f"{place}/s.zip", "wb") as out:
        out.write(whole)
    for words in (["unzip", "-tq"], ["zipinfo", "-z"], ["python3", "-m", "zipfile", "-t"]):
        done = subprocess.run([*words, f"{place}/s.zip"], capture_output=True, text=True)
        assert done.returncode == 0, done
    names = zipfile.ZipFile(f"{place}/s.zip").namelist()
    assert names[:5] == ["README.txt", "certs/ca.pem", "certs/seal.pem", "certs/tsa.pem", "certs/genesis.xml"], names[:5]
    lots = [name for name in names if name.startswith("lots/")]
    first = value("SELECT lot FROM event WHERE serial = %s", made["last"] - 60)
    assert lots[0] == f"lots/lot-{max(1, first - 1):06}.asice" and len(lots) == made["lot"] - max(1, first - 1) + 1
    shutil.rmtree(place)


def test_dates_select_the_lots_sealed_in_that_time():
    rows = query("SELECT lot, to_char(sealed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') FROM lot WHERE container IS NOT NULL ORDER BY lot DESC LIMIT 2")
    (last, to), (before, start) = rows
    status, _, body = http("/v1/extractions", method="POST", body={"dates": {"from": start, "to": to}, "overlap": False})
    answer = json.loads(body)
    assert status == 201 and (answer["first_lot"], answer["last_lot"]) == (before, before), (rows, answer)
    status, _, body = http("/v1/extractions", method="POST", body={"dates": {"from": "1999-01-01T00:00:00Z", "to": "1999-02-01T00:00:00Z"}})
    assert status == 404 and json.loads(body)["code"] == "dates-empty"


def test_lists_go_page_by_page():
    lots, after = [], 0
    while after is not None:
        page = json.loads(http(f"/v1/lots?after={after}&limit=2")[2])
        lots += [row["lot"] for row in page["lots"]]
        after = page["next_after"]
    assert lots == [row[0] for row in query("SELECT lot FROM lot ORDER BY lot")]
    history = json.loads(http("/v1/extractions?limit=1000")[2])["extractions"]
    mine = [row for row in history if row["id"] == made["extraction"]["id"]]
    assert mine and "reader-1" in mine[0]["reader"] and mine[0]["request"] == made["extraction"]["request"]


def test_the_commands_of_readme_work_as_written():
    place = folder()
    _, _, whole = http(segment_path)
    with open(f"{place}/extraction-1-segment-1.zip", "wb") as out:
        out.write(whole)
    archive = zipfile.ZipFile(io.BytesIO(whole))
    readme = archive.read("README.txt").decode()
    lots = sorted(name for name in archive.namelist() if name.startswith("lots/"))
    lot = lots[-1][9:15]
    one = next(name for name in archive.namelist() if name.startswith(f"events/{lot}/"))
    shutil.copy(PKI / "regulator-encryption.key", f"{place}/key.pem")
    lines = [line[5:] for line in readme.split("1. Unzip", 1)[1].splitlines() if line.startswith("     ")]
    script = "set -e\n" + "\n".join(lines).replace("lot-000001", f"lot-{lot}").replace("000001-1", f"{lot}-1") \
        .replace("events/000001/000000000001.p7m", one).replace("regulator-encryption.key", "../key.pem")
    done = subprocess.run(["bash", "-c", script], cwd=place, capture_output=True, text=True, timeout=300)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert said.count("is signed") == len(lots) and said.count("is complete") == len(lots) and said.count("follows") == len(lots) - 1, said
    assert "Verification: OK" in said and "Time stamp:" in said, said
    with open(f"{place}/evidence/event.xml", "rb") as content:
        assert content.read().startswith(b"<")
    shutil.rmtree(place)


# ---- coffre-extract -------------------------------------------------------------------------------------------

def extract_words(place, *words):
    return [str(word) for word in (BIN / "coffre-extract", *identity("reader-1"), "--port", port("HTTPS"), "--output", place, *words)]


def test_the_agent_fetches_and_the_verifier_agrees():
    place = folder()
    last = made["last"]
    for words in (["serials", f"{last - 60}-{last}"], ["lots", f"{made['lot'] - 1}-{made['lot']}"], ["event", last], ["container", made["lot"]]):
        answer = json.loads(extract("--output", place, "--json", *words).stdout)
        assert answer["complete"] and all(os.path.getsize(f"{place}/{row['file']}") == row["bytes"] for row in answer["files"])
    assert not [name for name in os.listdir(place) if ".part" in name]
    segments = [f"{place}/{name}" for name in os.listdir(place) if name.startswith("extraction-")]
    program("coffre-verify", "--ca", PKI / "regulator-ca.pem", *segments)
    program("coffre-verify", "--partial", "--ca", PKI / "regulator-ca.pem", f"{place}/event-{last:012}.zip")
    shutil.rmtree(place)


def test_the_agent_says_what_the_vault_says():
    assert extract("check").stdout == "available\n"
    assert json.loads(extract("--json", "status").stdout)["sealed_events"] >= made["last"]
    assert f"lot {made['lot']}  sealed" in extract("lots").stdout
    assert extract("lots", "999999", check=False).returncode == 1
    assert "not bound" in extract("status", reader="stranger", check=False).stderr or extract("status", reader="stranger", check=False).returncode == 1
    assert extract("lots", "5-4", check=False).returncode == 2
    done = program("coffre-extract", *identity("reader-1"), "--port", 1, "--retries", 0, "check", check=False)
    assert done.returncode == 3, done


class Liar:
    """An exporter with the right certificate that answers every request with one JSON document."""

    def __init__(self, answer):
        self.answer, self.socket = json.dumps(answer).encode(), socket.create_server(("127.0.0.1", 0))
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(PKI / "exporter.pem", PKI / "exporter.key")
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                with self.context.wrap_socket(self.socket.accept()[0], server_side=True) as peer:
                    peer.recv(65536)
                    peer.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(self.answer) + self.answer)
            except OSError:
                pass

    def ask(self, *words):
        return program("coffre-extract", *identity("reader-1"), "--port", self.socket.getsockname()[1], "--retries", 0, *words, check=False)


def test_the_agent_does_not_believe_a_lying_exporter():
    place, honest = folder(), dict(made["extraction"], id=4, segment_count=0, first_lot=3, last_lot=5)
    for answer in (honest, [1], {"id": 4}, dict(honest, id="../x", segment_count=1), dict(honest, segment_count=1, first_lot=4)):
        done = Liar(answer).ask("--output", place, "lots", "3-5")
        assert done.returncode == 4 and os.listdir(place) == [], (answer, done)
    done = Liar({"operator": "4512\x1b[2J", "status": "available\nEVERYTHING HOLDS"}).ask("status")
    assert "\x1b" not in done.stdout and "\nEVERYTHING" not in done.stdout, done
    os.rmdir(place)


def test_a_download_cut_in_the_middle_goes_on_and_ends_identical():
    place = folder()
    _, head, whole = http(segment_path)
    tag = re.search(r'(?im)^etag: (".*")\r?$', head).group(1)
    name = f"extraction-{made['extraction']['id']}-segment-1.zip"
    with open(f"{place}/{name}.part", "wb") as out:
        out.write(whole[:len(whole) // 3])
    with open(f"{place}/{name}.part.etag", "w") as out:
        out.write(f"{len(whole)} {tag}\n")
    answer = json.loads(extract("--output", place, "--json", "extraction", made["extraction"]["id"]).stdout)
    assert answer["files"][0]["resumed"]
    with open(f"{place}/{name}", "rb") as content:
        assert content.read() == whole
    # Again: compared, not fetched. Changed on disk: an incident, and the file is kept.
    assert json.loads(extract("--output", place, "--json", "extraction", made["extraction"]["id"]).stdout)["files"][0]["was_there"]
    with open(f"{place}/{name}", "r+b") as content:
        content.seek(len(whole) // 2)
        content.write(bytes([whole[len(whole) // 2] ^ 1]))
    assert extract("--output", place, "extraction", made["extraction"]["id"], check=False).returncode == 4
    # A part that is another version's is thrown away.
    os.remove(f"{place}/{name}")
    with open(f"{place}/{name}.part", "wb") as out:
        out.write(b"x" * 1000)
    with open(f"{place}/{name}.part.etag", "w") as out:
        out.write('5000 "other"\n')
    extract("--output", place, "extraction", made["extraction"]["id"])
    with open(f"{place}/{name}", "rb") as content:
        assert content.read() == whole
    shutil.rmtree(place)


def test_a_part_damaged_on_disk_is_found_before_it_gets_its_name():
    place = folder()
    _, head, whole = http(segment_path)
    tag = re.search(r'(?im)^etag: (".*")\r?$', head).group(1)
    name = f"extraction-{made['extraction']['id']}-segment-1.zip"
    with open(f"{place}/{name}.part", "wb") as out:
        out.write(whole[:500] + bytes([whole[500] ^ 1]) + whole[501:len(whole) // 2])
    with open(f"{place}/{name}.part.etag", "w") as out:
        out.write(f"{len(whole)} {tag}\n")
    assert extract("--output", place, "extraction", made["extraction"]["id"], check=False).returncode == 4
    assert os.listdir(place) == []
    extract("--output", place, "extraction", made["extraction"]["id"])
    shutil.rmtree(place)


def owner(statement):
    done = subprocess.run([ROOT / "deploy/instance.sh", "psql", "-d", DATABASE, "-v", "ON_ERROR_STOP=1", "-c", statement],
                          env={**os.environ, "RUN_DIR": str(RUN)}, capture_output=True, text=True)
    assert done.returncode == 0, done


def test_what_the_store_lost_or_bent_is_an_incident_and_what_came_is_kept():
    place, serial, name = folder(), made["last"], f"event-{made['last']:012}.zip"
    bend = f"UPDATE event SET body = set_byte(body, 100, get_byte(body, 100) # 1) WHERE serial = {serial}"
    owner(bend)
    try:
        done = extract("--output", place, "event", serial, check=False)
        assert done.returncode == 4 and os.listdir(place) == [name + ".damaged"] and ".damaged" in done.stderr, done
    finally:
        owner(bend)
    report = program("coffre-verify", "--ca", PKI / "regulator-ca.pem", "--partial", f"{place}/{name}.damaged", check=False)
    assert report.returncode == 1 and "[event-altered]" in report.stdout, report
    owner(f"UPDATE event SET serial = -serial WHERE serial = {serial}")
    try:
        status, _, body = http(f"/v1/events/{serial}")
        assert status == 500 and json.loads(body)["code"] == "incident", (status, body)
    finally:
        owner(f"UPDATE event SET serial = -serial WHERE serial = {-serial}")
    extract("--output", place, "event", serial)
    shutil.rmtree(place)


# ---- parts of the daemon go away --------------------------------------------------------------------------------

def roles(name):
    return children(pid_of("coffre-exporter")).get(name, [])


def test_killed_roles_come_back_and_say_503_meanwhile():
    for name in ("query", "keys", "front"):
        for pid in roles(name):
            os.kill(pid, signal.SIGKILL)

        def answers():
            try:
                status = http("/check")[0]
            except AssertionError:
                return False # no TLS without keys or front
            assert status in (200, 503), status
            return status == 200
        wait_until(answers, 60, f"/check after {name} was killed")
        wait_until(lambda: len(roles("query")) == 2 and roles("front") and roles("keys"), 60, "all roles are back")
    wait_until(lambda: http(segment_path)[0] == 200, 60, "all of it is served again")


def test_a_keys_role_that_hangs_is_started_again():
    hanging, = roles("keys")
    front, = roles("front")
    # A front that has just begun has never looked after it: it must all the same.
    os.kill(front, signal.SIGKILL)
    os.kill(hanging, signal.SIGSTOP)

    def answers():
        try:
            return http("/check")[0] == 200
        except AssertionError:
            return False # no TLS without keys
    wait_until(answers, 60, "handshakes succeed again")
    assert roles("keys") != [hanging]


def hand_over(place):
    """To the instance's user; what a running daemon renames meanwhile is its own already."""
    owner = RUN.stat()
    for folder, _, names in os.walk(place):
        for path in [folder, *(os.path.join(folder, name) for name in names)]:
            with contextlib.suppress(FileNotFoundError):
                os.chown(path, owner.st_uid, owner.st_gid)


class Beside:
    """Another exporter on the same store, with small segments."""
    def __enter__(self):
        self.place = folder()
        self.port = free_port()
        text = (RUN / "coffre.yml").read_text()
        text = re.sub(r"(?m)^exporter:\n  listen: .*$", f"exporter:\n  segment_bytes: 1MiB\n  listen: [\"127.0.0.1:{self.port}\"]", text)
        text = re.sub(r"(?m)^state_dir: .*$", f"state_dir: {self.place}", text)
        text = re.sub(r"(?m)(?<=[ \[])(pki|keys|secrets|certificates|state)/", rf"{RUN}/\1/", text)
        # Certificate and key where others will be put: what a reload names elsewhere needs a start.
        owner = RUN.stat()
        for name, was in (("exporter.pem", PKI / "exporter.pem"), ("exporter.key", PKI / "exporter.key")):
            shutil.copy(was, f"{self.place}/{name}")
            os.chmod(f"{self.place}/{name}", 0o600)
        text = text.replace(f"{PKI}/exporter.pem", f"{self.place}/exporter.pem").replace(f"{RUN}/keys/exporter/exporter.key", f"{self.place}/exporter.key")
        with open(f"{self.place}/coffre.yml", "w") as out:
            out.write(text)
        self.log = open(f"{self.place}/log", "w")
        # Not as root: roles give up every capability, and root without them may not read what is not its own.
        hand_over(self.place)
        as_owner = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if os.geteuid() == 0 else {}
        self.process = subprocess.Popen([BIN / "coffre-exporter", "--config", f"{self.place}/coffre.yml"], stderr=self.log, **as_owner)
        wait_until(lambda: subprocess.run([BIN / "coffre-exporter", "--config", f"{self.place}/coffre.yml", "--status"],
                                          capture_output=True).returncode == 0, 60, "the exporter beside is ready")
        return self

    def extract(self, *words):
        return program("coffre-extract", *identity("reader-1"), "--port", self.port, *words)

    def open(self):
        raw = socket.create_connection(("localhost", self.port), timeout=60)
        return tls("reader-1").wrap_socket(raw, server_hostname="localhost")

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        self.log.close()
        shutil.rmtree(self.place)


def test_a_large_extraction_comes_in_segments_that_verify_together():
    first = value("SELECT max(serial) FROM event") + 1
    deposit("--generate", 4000, "--operator", "4512", "--follow", "archived", timeout=300)
    last = value("SELECT max(serial) FROM event")
    wait_sealed(last)
    with Beside() as beside:
        place = f"{beside.place}/out"
        answer = json.loads(beside.extract("--output", place, "--json", "serials", f"{first}-{last}").stdout)
        assert answer["complete"] and answer["extraction"]["segment_count"] >= 2, answer
        ends = [(row["first_lot"], row["last_lot"]) for row in answer["extraction"]["segments"]]
        assert all(before[1] + 1 == after[0] for before, after in zip(ends, ends[1:])), ends
        assert sum(row["bytes"] for row in answer["files"]) == answer["extraction"]["bytes"]
        program("coffre-verify", "--ca", PKI / "regulator-ca.pem", *[f"{place}/{row['file']}" for row in answer["files"]])
        # The configuration of whoever serves it later changes nothing.
        segment = answer["extraction"]["segments"][1]
        with open(f"{place}/{answer['files'][1]['file']}", "rb") as content:
            assert http(segment["location"])[2] == content.read()
        # One that does not read holds nobody up; and its answer waits in bounded memory.
        slow = [beside.open() for _ in range(8)]
        for connection in slow:
            connection.sendall(f"GET {segment['location']} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            connection.recv(10)
        for _ in range(10):
            assert json.loads(beside.extract("--json", "check").stdout)["status"] == "available"
        for connection in slow:
            connection.close()


def test_a_renewed_certificate_is_taken_up_without_a_restart():
    with Beside() as beside:
        def subject():
            raw = beside.open()
            serial = raw.getpeercert()["serialNumber"]
            raw.close()
            return serial
        config = f"{beside.place}/coffre.yml"
        with open(config) as content:
            text = content.read()
        before = subject()
        # The same key, and another one: at once, and nothing starts again.
        for name, key in (("same", f"{beside.place}/exporter.key"), ("other", f"{beside.place}/other.key")):
            if name == "other":
                subprocess.run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key], check=True,
                               capture_output=True)
            server_certificate(beside.place, name, key)
            hand_over(beside.place)
            with open(config, "w") as out:
                out.write(text.replace(f"{beside.place}/exporter.pem", f"{beside.place}/{name}.pem").replace(f"{beside.place}/exporter.key", key))
            beside.process.send_signal(signal.SIGHUP)

            def renewed():
                try:
                    return subject() != before
                except OSError:
                    return False
            wait_until(renewed, 60, f"the certificate for the {name} key is shown")
            before = subject()
        # What is wrong is refused, and what is in force stays.
        with open(config, "w") as out:
            out.write(text.replace(f"{PKI}/regulator-ca.pem", f"{beside.place}/nothing.pem"))
        beside.process.send_signal(signal.SIGHUP)
        status = lambda: pathlib.Path(f"{beside.place}/coffre-exporter.status").read_text()
        wait_until(lambda: re.search(r"(?m)^reload .* refused .*nothing\.pem", status()), 60, status)
        assert subject() == before and json.loads(beside.extract("--json", "check").stdout)["status"] == "available"


def server_certificate(place, name, key):
    with open(f"{place}/{name}.ext", "w") as out:
        out.write("subjectAltName=DNS:localhost,IP:127.0.0.1\nkeyUsage=digitalSignature\nextendedKeyUsage=serverAuth\n")
    subprocess.run(["openssl", "req", "-new", "-key", key, "-subj", "/CN=exporter", "-out", f"{place}/{name}.csr"], check=True, capture_output=True)
    subprocess.run(["openssl", "x509", "-req", "-in", f"{place}/{name}.csr", "-CA", PKI / "operator-ca.pem", "-CAkey", PKI / "operator-ca.key",
                    "-set_serial", "0x" + os.urandom(8).hex(), "-days", "5", "-extfile", f"{place}/{name}.ext", "-out", f"{place}/{name}.pem"],
                   check=True, capture_output=True)


def test_the_exporters_database_role_can_write_nothing_but_requests():
    for table in ("vault", "role", "head", "lot", "lot_key", "event", "quarantine", "health"):
        rights = query("SELECT has_table_privilege('coffre_exporter', %s, 'INSERT, UPDATE, DELETE, TRUNCATE')", table)
        assert rights == [(False,)], table


if __name__ == "__main__":
    run(globals())
