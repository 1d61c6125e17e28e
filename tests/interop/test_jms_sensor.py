#!/usr/bin/python3
"""The whole life of events at a deployed sensor, with the real JMS client: spool, deposit, answer, archive, purge; the network breaks in between."""
import concurrent.futures
import os
import signal
import sys
import xml.parsers.expat

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "jms"))
from sensors import *

RESEND, COMMIT = 2000, 2500  # ms; five minutes each in life
depositor = Depositor()


def start(url, resend=RESEND, commit=COMMIT):
    """A sensor with an address, as deployed."""
    return new("Sensor", depositor.factory(url), str(VAULT), resend, commit)


def story(sensor, seconds=180):
    """Waits until the sensor has nothing left, and stops it; everything that it was told, by ClientId."""
    try:
        wait_until(lambda: sensor.waiting() == 0, seconds, "the sensor's spool is empty")
    except AssertionError as failure:
        raise AssertionError(f"{failure}: {sensor.waiting()} left, {sensor.sends()} sent, {sensor.failures()} failures, the last: {sensor.lastFailure()}") from None
    sensor.stop()
    return sensor.answers()


def check_story(bodies, answers):
    """Each event was given one number, and is stored and sealed, once, as it was deposited."""
    told = {}
    for name in bodies:
        said = answers[name]
        assert {one["status"] for one in said} <= {"CFJL_OK", "CFJL_DUPLICATE_EVENT"}, (name, said)
        assert len({(one["serial"], one["lot"], one["digest"]) for one in said}) == 1, (name, said)
        told[int(said[0]["serial"])] = (name, said[0])
    assert len(told) == len(bodies), "two events with one number"
    wait_sealed(max(told))
    rows = query("SELECT serial, lot, body FROM event WHERE serial = ANY(%s)", list(told))
    assert sorted(row[0] for row in rows) == sorted(told)
    decryptor = Decryptor()
    for serial, lot, body in rows:
        name, said = told[serial]
        numbered = bodies[name].replace(PLACEHOLDER, str(serial).encode())
        assert (said["lot"], said["digest"]) == (lot, digest(numbered)), (name, said, lot)
        assert decryptor.event(lot, bytes(body)) == numbered, f"{name} is not stored as it was sent"


def test_three_hundred_events_through_cuts_and_a_killed_front():
    before = stored()
    bodies = {unique(f"SOFUN:BETKUP-4711:{i}"): event(f"événement {i} é€😀") for i in range(300)}
    with Relay(port("STOMP")) as relay:
        sensor = start(failover_url(ssl_url(relay.port), randomize=False, maxReconnectDelay=300), resend=700)
        for i, (name, body) in enumerate(bodies.items()):
            sensor.put(name, body.decode(), None)
            if i % 100 == 99:
                wait_until(lambda: stored() > before + i - 80, 60, "deposits arrive")
                if i < 290:
                    relay.cut()
                sensor.reconnect()
            if i == 150:
                for pid in children(pid_of("coffre-ingest")).get("front", []):
                    os.kill(pid, signal.SIGKILL)
        answers = story(sensor)
    assert stored() == before + len(bodies)
    check_story(bodies, answers)
    check_numbers()
    statuses = [one["status"] for said in answers.values() for one in said]
    print(f"    {len(bodies)} events, {sensor.sends()} deposits, {statuses.count('CFJL_OK')} OK and {statuses.count('CFJL_DUPLICATE_EVENT')} DUPLICATE "
          f"read, {sensor.purged()} purged by {len(set(sensor.archives()))} lots, {sensor.failures()} exceptions at the sensor")


def test_sensors_of_every_version():
    # Each at the same time, with a depositor's certificate of its own; every other one by TLS 1.2, and without tight encoding.
    with concurrent.futures.ThreadPoolExecutor(7) as pool:
        depositors = dict(zip(range(6, 13), pool.map(Depositor, ["EC"] * 7)))
    before, sensors, bodies = stored(), {}, {}
    for version, own in depositors.items():
        url = ssl_url(wireFormat_version=version, wireFormat_tightEncodingEnabled=version % 2 == 0, wireFormat_cacheEnabled=version % 3 == 0,
                      socket_enabledProtocols=f"TLSv1.{2 + version % 2}")
        # Version 7 is what the first sensors spoke.
        sensors[version] = new("Sensor", own.factory(url if version in (8, 11) else failover_url(url)), str(VAULT), 1500, 1500)
        bodies[version] = {unique(f"v{version}"): event(f"version {version}, {i} é€") for i in range(10)}
        for name, body in bodies[version].items():
            sensors[version].put(name, body.decode(), None)
    wait_until(lambda: all(sensor.sends() >= 10 for sensor in sensors.values()), 60, "every sensor sends")
    for sensor in sensors.values():
        sensor.reconnect()
    for version, sensor in sensors.items():
        check_story(bodies[version], story(sensor))
    assert stored() == before + 70


def test_what_is_archived_is_purged():
    """By the notice alone: it is sent once, and would not be again before long."""
    name, body = unique("archive"), event("archivé")
    sensor = start(failover_url(), resend=15000, commit=500)
    sensor.put(name, body.decode(), None)
    answers = story(sensor)
    assert {one["status"] for one in answers[name]} == {"CFJL_OK"} and sensor.purged() == sensor.sends() == 1, (answers, sensor.purged(), sensor.sends())
    assert int(answers[name][0]["lot"]) in set(sensor.archives()), (answers, sensor.archives())
    check_story({name: body}, answers)


def test_resending_before_the_archive_gets_the_same_number():
    name, body = unique("renvoi"), event("renvoyé")
    before = stored()
    sensor = start(failover_url(), resend=200, commit=60000) # sends again and again before it has read anything for good
    sensor.put(name, body.decode(), None)
    answers = story(sensor)
    statuses = [one["status"] for one in answers[name]]
    assert set(statuses) == {"CFJL_OK", "CFJL_DUPLICATE_EVENT"} and len({one["serial"] for one in answers[name]}) == 1, answers
    assert sensor.sends() > 1 and stored() == before + 1, "it was sent again before it was archived, which is routine"


# ---- short form -----------------------------------------------------------------------------------------------

HEADER = {"IDOper": "a", "IDCoffre": "b", "IDJoueur": "c", "IDEvt": "d", "DateEvt": "e", "IDSession": "i"}


def translated(body, codes, depth=None):
    """Element names as short codes; only those at most `depth` deep when given."""
    level = 0

    def code(found):
        nonlocal level
        closing, name = found.group(1), found.group(2)
        level -= bool(closing)
        short = codes.get(name.decode(), name.decode()) if depth is None or level <= depth else name.decode()
        level += not closing and not found.group(3).endswith(b"/>")
        return b"<" + closing + short.encode() + found.group(3)
    return re.sub(rb"<(/?)([A-Za-z_][\w.-]*)([^<>]*>)", code, body)


def test_the_short_form_and_a_bad_digest_among_them():
    before = stored()
    bodies = {unique("court"): translated(event(f"court {i}"), HEADER) for i in range(5)}
    assert all(b"<d><!--SAFE_ID--></d>" in body for body in bodies.values())
    sensor = start(failover_url())
    bad = unique("faux")
    sensor.put(bad, event("faux").decode(), "0" * 64)
    for name, body in bodies.items():
        sensor.put(name, body.decode(), None)
    answers = story(sensor)
    said = answers.pop(bad)
    assert {one["status"] for one in said} == {"CFJL_INVALID_MESSAGE"} and said[0]["reason"].startswith("digest-mismatch"), said
    check_story(bodies, answers)
    assert stored() == before + 5


# ---- the regulator's samples ----------------------------------------------------------------------------------

def several(path):
    """The events of a sample file, one or more, byte for byte, without an XML declaration."""
    text = re.sub(rb"^\xef\xbb\xbf|<\?xml[^>]*\?>", b"", path.read_bytes())
    head, depth, starts, found = b"<files>", 0, [], []
    parser = xml.parsers.expat.ParserCreate("UTF-8")

    def start_element(*_):
        nonlocal depth
        depth += 1
        if depth == 2:
            starts.append(parser.CurrentByteIndex)

    def end_element(*_):
        nonlocal depth
        if depth == 2:
            at = parser.CurrentByteIndex - len(head)
            found.append(text[starts[-1] - len(head):text.index(b">", at) + 1])
        depth -= 1
    parser.StartElementHandler, parser.EndElementHandler = start_element, end_element
    parser.Parse(head + text + b"</files>", True)
    return found


def ours(body):
    """A sample as an event of this vault, waiting for its number."""
    for name, content in (("IDOper", OPERATOR), ("IDCoffre", str(VAULT)), ("IDEvt", PLACEHOLDER.decode())):
        body, count = re.subn(rf"(<{name}(?:\s[^>]*)?)(?:>[^<]*(?:<!--.*?-->)?[^<]*</{name}>|/>)".encode(),
                              rf"\1>{content}</{name}>".encode(), body, count=1)
        assert count == 1, f"no {name}: {body[:300]}"
    return body


def test_the_regulators_samples_in_long_and_short_form():
    folder = SHARED / "anj/samples"
    if not folder.is_dir():
        print(f"    {folder} is absent: nothing to deposit")
        return
    codes = dict(line.strip().split(";") for line in (SHARED / "anj/traduction.csv").read_text().splitlines() if ";" in line)
    events = [ours(body) for path in sorted(folder.rglob("*.xml")) for body in several(path)]
    bodies = {}
    for i, body in enumerate(events):
        for form in (body, translated(body, codes), translated(body, codes, depth=1)):
            bodies[unique(f"anj-{i}")] = form
    assert len(events) > 40 and any(b"<d><!--SAFE_ID--></d>" in body for body in bodies.values())
    before = stored()
    sensor = start(failover_url(), resend=4000)
    for name, body in bodies.items():
        sensor.put(name, body.decode(), None)
    answers = story(sensor)
    check_story(bodies, answers)
    assert stored() == before + len(bodies)
    print(f"    {len(events)} events of the regulator's samples, each in three forms")


def test_servers_behind_are_killed_and_come_back():
    before = stored()
    bodies = {unique(f"panne-{i}"): event(f"panne {i}") for i in range(60)}
    names = iter(bodies)
    sensor = start(failover_url(randomize=False, maxReconnectDelay=300), resend=1000)

    def put_some(count):
        for _ in range(count):
            name = next(names)
            sensor.put(name, bodies[name].decode(), None)
    for server in ("coffre-ingest", "rabbitmq"):
        sends = sensor.sends()
        put_some(15)
        wait_until(lambda: sensor.sends() > sends, 90, "deposits are taken")
        instance("kill", server)
        put_some(15)
        instance("start", server)
    answers = story(sensor)
    assert stored() == before + len(bodies), "nothing lost, nothing twice"
    check_story(bodies, answers)
    check_numbers()
    print(f"    {sensor.sends()} deposits of {len(bodies)} events, {sensor.failures()} exceptions at the sensor, the last: {sensor.lastFailure()}")


def test_nothing_is_left_and_the_numbers_have_no_gap():
    check_numbers()


run(globals())
