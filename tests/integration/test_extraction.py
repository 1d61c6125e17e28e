#!/usr/bin/python3
"""The regulator's side: HTTP answers and rights, an extraction verified offline, an event decrypted byte for byte."""
import os
import pathlib
import shutil
import sys
import tempfile
import zipfile

sys.path.insert(0, os.path.dirname(__file__))
from coffre import *

BODY = event("extraction " + unique())
STATE = {}


def setup():
    """One deposit of which everything is known, in a sealed lot."""
    if not STATE:
        name = unique("extrait")
        with Stomp() as s:
            s.subscribe()
            s.deposit(BODY, name)
            STATE["serial"] = int(s.answer_to(name)["CFJLJELSerial"])
            s.close()
        STATE["lot"] = wait_sealed(STATE["serial"])
    return STATE["serial"], STATE["lot"]


def test_check_and_status():
    status, _, body = http("/check")
    assert (status, json.loads(body)["status"]) == (200, "available"), body
    for who in ("reader-1", "tech-admin-1"):
        status, _, body = http("/v1/status", who)
        assert status == 200 and json.loads(body), (who, status, body)


def test_who_may_what():
    serial, lot = setup()
    for who, path, expected in [
        (None, "/v1/status", 401), ("foreign", "/v1/status", 401), ("stranger", "/v1/status", 403), ("sensor-1", "/v1/status", 403),
        ("stranger", "/v1/lots", 403), ("sensor-1", f"/v1/events/{serial}", 403), ("tech-admin-1", f"/v1/events/{serial}", 403),
        ("tech-admin-1", f"/v1/lots/{lot}", 403), ("reader-1", f"/v1/lots/{lot}", 200), ("reader-1", "/v1/lots", 200),
        ("reader-1", "/v1/lots/999999", 404), ("reader-1", "/v1/events/99999999", 404), ("reader-1", "/v1/nothing", 404),
    ]:
        status, _, body = http(path, who)
        assert status == expected, f"{who} GET {path}: {status}, expected {expected}: {body[:200]}"


def test_a_lot_is_handed_out_byte_for_byte():
    _, lot = setup()
    _, _, first = http(f"/v1/lots/{lot}")
    _, head, again = http(f"/v1/lots/{lot}")
    stored = bytes(value("SELECT container FROM lot WHERE lot = %s", lot))
    assert first == again == stored
    assert f"content-length: {len(stored)}" in head.lower()


def fetch(folder, *words):
    extract("--output", folder, *words)
    segments = sorted(pathlib.Path(folder).glob("*.zip"))
    assert segments, list(pathlib.Path(folder).iterdir())
    return segments


def test_an_extraction_verifies_offline_and_an_event_decrypts_to_what_was_deposited():
    serial, lot = setup()
    with tempfile.TemporaryDirectory() as folder:
        segments = fetch(folder, "lots", f"1-{lot}")
        verify(*segments)
        with zipfile.ZipFile(segments[-1]) as segment:
            names = segment.namelist()
        assert f"lots/lot-{lot:06}.asice" in names and f"events/{lot:06}/{serial:012}.p7m" in names
        # Decrypted with the stock openssl, by the book of the segment's README.
        work = pathlib.Path(folder) / "x"
        for path in segments:
            with zipfile.ZipFile(path) as segment:
                segment.extractall(work)
        for key in sorted((work / "keys").glob(f"{lot:06}-*.p7m")):
            opened = subprocess.run(["openssl", "cms", "-decrypt", "-inform", "DER", "-in", key, "-inkey", PKI / "regulator-encryption.key",
                                     "-recip", PKI / "regulator-encryption.pem"], capture_output=True, check=True).stdout
            got = subprocess.run(["openssl", "cms", "-decrypt", "-inform", "DER", "-in", work / f"events/{lot:06}/{serial:012}.p7m",
                                  "-secretkey", opened.hex(), "-secretkeyid", key.stem.encode().hex()], capture_output=True)
            if got.returncode == 0:
                break
        assert got.stdout == BODY.replace(PLACEHOLDER, str(serial).encode()), got


def test_the_next_recipient_can_decrypt_too():
    serial, lot = setup()
    body = bytes(value("SELECT body FROM lot_key WHERE lot = %s ORDER BY ordinal LIMIT 1", lot))
    keys = {subprocess.run(["openssl", "cms", "-decrypt", "-inform", "DER", "-inkey", PKI / f"{name}.key", "-recip", PKI / f"{name}.pem"],
                           input=body, capture_output=True, check=True).stdout
            for name in ("regulator-encryption", "regulator-encryption-next")}
    assert len(keys) == 1 and len(keys.pop()) == 32


def test_a_changed_byte_in_a_segment_is_found():
    _, lot = setup()
    with tempfile.TemporaryDirectory() as folder:
        segments = fetch(folder, "lots", f"{lot}-{lot}")
        with zipfile.ZipFile(segments[0]) as segment:
            info = next(i for i in segment.infolist() if i.filename.startswith(f"events/{lot:06}/"))
        data = bytearray(segments[0].read_bytes())
        data[info.header_offset + 30 + len(info.filename) + info.file_size // 2] ^= 1
        segments[0].write_bytes(data)
        done = verify(*segments, check=False)
        assert done.returncode not in (0, 2) and info.filename.split("/")[-1] in done.stdout + done.stderr, done


def test_segments_have_exact_length_and_ranges():
    _, lot = setup()
    status, _, body = http("/v1/extractions", method="POST", body={"lots": {"first": lot, "last": lot}})
    assert status in (200, 201), (status, body)
    answer = json.loads(body)
    identifier = answer["id"]
    path = f"/v1/extractions/{identifier}/segments/1"
    status, head, whole = http(path)
    assert status == 200 and f"content-length: {len(whole)}" in head.lower(), head
    status, head, part = http(path, headers=["Range: bytes=10-19"])
    assert status == 206 and part == whole[10:20], (status, head)
    status, _, _ = http(path, headers=[f"Range: bytes={len(whole)}-"])
    assert status == 416
    _, _, again = http(path)
    assert again == whole, "the same segment has other bytes"


run(globals())
