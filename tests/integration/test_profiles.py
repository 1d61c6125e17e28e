#!/usr/bin/python3
"""Who may do what: every profile, and certificates that are wrong in one way each, against every HTTP route and every messaging destination, by design section 4.

Routes are those of the exporter's own table: one that is not named here fails.
"""
import contextlib
import os
import socket
import sys
from http.client import HTTPSConnection

sys.path.insert(0, os.path.dirname(__file__))
from holders import *

READER, TECHNICAL, FUNCTIONAL = "reader", "technical", "functional"
ANYONE = "anyone" # also without a certificate
EVERYONE = {READER, TECHNICAL, FUNCTIONAL}

RIGHTS = {
    "GET /check": EVERYONE,
    "GET /livez": ANYONE,
    "GET /readyz": ANYONE,
    "GET /v1/status": EVERYONE,
    "GET /v1/lots": EVERYONE,
    "GET /v1/lots/#": {READER, FUNCTIONAL}, # the functional administrator receives the chain's head
    "GET /v1/events/#": {READER},
    "GET /v1/extractions": {READER},
    "POST /v1/extractions": {READER},
    "GET /v1/extractions/#": {READER},
    "GET /v1/extractions/#/segments/#": {READER},
    "GET /v1/metrics": {TECHNICAL},
    "GET /v1/operations": {TECHNICAL},
    "POST /v1/operations": {TECHNICAL},
    "GET /v1/operations/#": {TECHNICAL},
    "GET /v1/admin/roles": {FUNCTIONAL},
    "POST /v1/admin/roles": {FUNCTIONAL},
    "POST /v1/admin/roles/#/revocation": {FUNCTIONAL},
    "GET /v1/admin/changes": {FUNCTIONAL},
    "GET /v1/admin/changes/#": {FUNCTIONAL},
    "POST /v1/admin/changes/#/approval": {FUNCTIONAL},
    "POST /v1/admin/changes/#/refusal": {FUNCTIONAL},
}
HOLDERS = {"reader-1": READER, "tech-admin-1": TECHNICAL, "func-admin-1": FUNCTIONAL}
SERVER = ["keyUsage=critical,digitalSignature", "extendedKeyUsage=serverAuth"]


def routes():
    """METHOD PATTERN of every row of the table in exporter/api.c."""
    text = (ROOT / "exporter/api.c").read_text()
    table = text[text.index("routes[] = {"):]
    rows = re.findall(r'\{"(/[^"]*)", (\w+), (\w+), (?:true|false)\}', table[:table.index("};")])
    assert len(rows) == table[:table.index("};")].count('{"/'), "a row of the table is written in a way this test does not read"
    return [f"{method} {pattern}" for pattern, get, post in rows for method, row in (("GET", get), ("POST", post)) if row != "NONE"]


def setup():
    """Something at the end of every route; what its numbers are."""
    wait_until(lambda: curl("/readyz", "tech-admin-1")[0] == 200, SOON, "the vault is ready, whatever was done to it before")
    deposit("--quiet", "--follow", "archived", "--operator", OPERATOR, "--generate", 1, "--client-id-prefix", unique("profil"))
    last = value("SELECT max(serial) FROM event")
    lot = wait_sealed(last)
    status, _, body = http("/v1/extractions", method="POST", body={"lots": {"first": lot, "last": lot}})
    assert status == 201, body
    extraction = json.loads(body)["id"]
    status, _, body = http("/v1/operations", "tech-admin-1", "POST", {"operation": "close-lot", "reason": "une operation a lire"})
    assert status == 202, body
    operation = json.loads(body)["id"]
    return {"/v1/operations/#": [operation], "/v1/lots/#": [lot], "/v1/events/#": [last], "/v1/extractions/#": [extraction], "/v1/extractions/#/segments/#": [extraction, 1]}


made = setup()


contexts = {}


def one_request(name, path, who, content=None, lax=False):
    """(status, body as JSON when it is, or bytes) of one request on a connection of its own, as curl() would: thousands of its processes take minutes."""
    if (who, lax) not in contexts:
        context = tls(None if lax else who)
        if lax: # the client itself uses certificates which OpenSSL thinks too weak
            context.set_ciphers("DEFAULT@SECLEVEL=0")
            context.load_cert_chain(PKI / f"{who}.pem", PKI / f"{who}.key")
        contexts[who, lax] = context
    client = HTTPSConnection("127.0.0.1", port("HTTPS"), timeout=SOON, context=contexts[who, lax])
    try:
        client.putrequest(name, path, skip_accept_encoding=True)
        if content is not None:
            client.putheader("Content-Type", "application/json")
            client.putheader("Content-Length", str(len(content)))
        client.endheaders(content)
        got = client.getresponse()
        body = got.read()
    finally:
        client.close()
    try:
        return got.status, json.loads(body)
    except ValueError:
        return got.status, body


def by_curl(name, path, who, content=None, lax=False):
    words = ["-X", name] if content is None else ["-X", name, "-H", "Content-Type: application/json", "--data-binary", content.decode()]
    return curl(path, who, None, *words, lax=lax)


def path_of(pattern):
    path, numbers = pattern, list(made.get(pattern, []))
    while "#" in path:
        path = path.replace("#", str(numbers.pop(0) if numbers else 999999999), 1)
    return path


def request(route, who, lax=False, by=one_request):
    """(status, answer) of a request that this route understands; of a POST with content that it does not, but for extractions."""
    method, pattern = route.split(" ")
    lot = made["/v1/lots/#"][0]
    content = json.dumps({"lots": {"first": lot, "last": lot}} if pattern == "/v1/extractions" else {"wrong": True}).encode()
    return by(method, path_of(pattern), who, content if method == "POST" else None, lax)


def refused_as(route, who, status, *codes, lax=False):
    got, answer = request(route, who, lax)
    assert got == status and answer["status"] == status and answer["code"] in codes and answer["reason"], (route, who, got, answer)


# ---- HTTP --------------------------------------------------------------------------------------------------

def test_every_route_has_an_expectation_and_no_other_exists():
    assert sorted(routes()) == sorted(RIGHTS), set(routes()) ^ set(RIGHTS)


def test_profiles_have_their_rights_and_no_others():
    for route in routes():
        for who, profile in HOLDERS.items():
            if RIGHTS[route] == ANYONE or profile in RIGHTS[route]:
                status, answer = request(route, who, by=by_curl)
                allowed = {200, 201} if route.startswith("GET") and "changes/#" not in route or route == "POST /v1/extractions" else {400, 404, 409}
                assert status in allowed, (route, who, status, answer)
            else:
                refused_as(route, who, 403, "not-allowed")


def test_depositors_and_strangers_have_none():
    for route in routes():
        for who in ("sensor-1", "stranger"):
            if RIGHTS[route] == ANYONE:
                assert request(route, who)[0] == 200, (route, who)
            else:
                refused_as(route, who, 403, "not-bound")
        if RIGHTS[route] == ANYONE:
            assert request(route, None)[0] == 200, route
        else:
            refused_as(route, None, 401, "certificate-missing")
            refused_as(route, "foreign", 401, "certificate-foreign")


# HEAD asks for what GET does. Nothing takes another method, and who has no right learns nothing of that.
METHODS = ["PUT", "DELETE", "TRACE", "get", "BREW"]


def method(name, pattern, who):
    return one_request(name, path_of(pattern), who, b"{}" if name == "POST" else None)


def test_head_has_the_rights_of_get():
    for route in routes():
        act, pattern = route.split(" ")
        if act != "GET":
            continue
        for who, profile in HOLDERS.items():
            got = method("HEAD", pattern, who)[0]
            may_read = RIGHTS[route] == ANYONE or profile in RIGHTS[route]
            assert got == (request(route, who)[0] if may_read else 403), (route, who, got)
        for who, status in (("sensor-1", 403), ("stranger", 403), ("foreign", 401), (None, 401)):
            assert method("HEAD", pattern, who)[0] == (200 if RIGHTS[route] == ANYONE else status), (route, who)


def test_no_route_takes_a_method_it_does_not_name():
    taken = {}
    for route in routes():
        act, pattern = route.split(" ")
        taken.setdefault(pattern, set()).update({"GET", "HEAD"} if act == "GET" else {act})
    for turn, (pattern, has) in enumerate(taken.items()):
        for name in ["OPTIONS", METHODS[turn % len(METHODS)], *({"GET", "POST"} - has)]:
            for who, status, code in (*((holder, 405, "method") for holder in HOLDERS), ("sensor-1", 403, "not-bound"), ("stranger", 403, "not-bound"),
                                      ("foreign", 401, "certificate-foreign"), (None, 401, "certificate-missing")):
                got, answer = method(name, pattern, who)
                assert (got, answer["code"]) == (status, code), (name, pattern, who, got, answer)


def subject_of(name):
    return "/" + "/".join(reversed(openssl("x509", "-in", PKI / f"{name}.pem", "-noout", "-subject", "-nameopt", "RFC2253").strip()
                                   .partition("=")[2].split(",")))


def wrong(holder, ca):
    """Certificates with this holder's very subject, each wrong in one way: {name: the check it fails}."""
    subject = subject_of(holder)
    made_of = lambda **how: issue(short("faux"), subject=subject, **{"ca": ca, **how})
    revoked = made_of()
    pki("revoke", revoked, "superseded")
    answers(revoked, 401, "certificate-revoked") if holder in HOLDERS else kept_out(revoked, "has been revoked", kinds=[StompSensor], deposits=False)
    return {
        made_of(days=1, from_=30): "certificate-expired",
        made_of(from_=-2): "certificate-not-yet-valid",
        made_of(key="rsa:1024"): "certificate-weak",
        made_of(key="rsa", md="sha1"): "certificate-weak",
        made_of(extensions=SERVER): "certificate-usage",
        made_of(extensions=["keyUsage=critical,keyEncipherment", "extendedKeyUsage=clientAuth"]): "certificate-usage",
        made_of(extensions=["keyUsage=critical,digitalSignature"]): "certificate-usage",
        made_of(ca="foreign-ca"): "certificate-foreign",
        revoked: "certificate-revoked",
    }


def test_a_wrong_certificate_opens_nothing_whatever_its_subject():
    for holder, ca in (("reader-1", "regulator-ca"), ("func-admin-1", "regulator-ca"), ("tech-admin-1", "operator-ca")):
        for who, code in wrong(holder, ca).items():
            for route in routes():
                if RIGHTS[route] != ANYONE:
                    refused_as(route, who, 401, code, lax=True)


def test_an_authority_vouches_for_its_own_profiles_only():
    """The operator cannot make itself a reader or a functional administrator, nor the regulator a technical one."""
    for holder, ca in (("reader-1", "operator-ca"), ("func-admin-1", "operator-ca"), ("tech-admin-1", "regulator-ca")):
        who = issue(short(holder), ca=ca, subject=subject_of(holder))
        for route in routes():
            if RIGHTS[route] != ANYONE:
                refused_as(route, who, 403, "not-bound")
    who = issue(short("sensor-1"), ca="regulator-ca", subject=subject_of("sensor-1"))
    for kind in SENSORS:
        assert refusal(kind, who), "the regulator's authority made a depositor"


# ---- messaging ---------------------------------------------------------------------------------------------

ARCHIVE = f"Archive.{VAULT}.Out"
MAY = {("send", IN), ("read", OUT), ("read", ARCHIVE)}
OTHER_QUEUES = [IN, OUT, ARCHIVE, f"Archive.{VAULT}.In", f"Event.{VAULT}.Parked", f"Event.{int(VAULT) + 1}.In", f"Event.{int(VAULT) + 1}.Out", f"Event.{VAULT}.Out.1",
                f"Event.{VAULT}.Reply.{'0' * 32}", "journal", "ActiveMQ.DLQ", "Event.>", f"{OUT},Archive.{VAULT}.Out", ""]


def stomp_allows(act, queue):
    with Stomp("sensor-1") as c:
        if act == "send":
            body = event("droit")
            c.send("SEND", {"destination": f"/queue/{queue}", "receipt": "r", "ClientId": unique(), "Digest": digest(body), "DigestAlgo": "SHA-256",
                            "Timestamp": 1}, body)
        else:
            c.send("SUBSCRIBE", {"destination": f"/queue/{queue}", "id": "1", "ack": "client", "receipt": "r"})
        while True:
            command, _, _ = c.read()
            if command in ("RECEIPT", "ERROR"):
                return command == "RECEIPT"


def openwire_allows(act, queue):
    with OpenWire("sensor-1") as c:
        try:
            if act == "send":
                c.produce(queue=None)
                c.deposit(unique(), queue=queue)
            else:
                c.consume(queue=queue)
            return True
        except (Thrown, *GONE):
            return False


def test_a_depositor_may_deposit_and_read_its_answers_and_nothing_else():
    for allows in (stomp_allows, openwire_allows):
        for queue in OTHER_QUEUES:
            for act in ("send", "read"):
                assert allows(act, queue) == ((act, queue) in MAY), (allows.__name__, act, queue)


def test_a_depositor_sees_its_own_answers_only():
    one, two = sensor(), sensor()
    let_in(one, kinds=[StompSensor])
    let_in(two, kinds=[StompSensor])
    names = {}
    for who in (one, two):
        with Stomp(who) as c:
            names[who] = {unique(who) for _ in range(5)}
            for name in names[who]:
                c.deposit(event(name), name)
    for who, other, kind in ((one, two, Stomp), (two, one, OpenWire)):
        got = set()
        with kind(who) as c:
            c.subscribe() if kind is Stomp else c.consume()
            while not got >= names[who]:
                got.add(c.expect("MESSAGE")[0]["ClientId"] if kind is Stomp else c.dispatched()["message"]["properties"]["ClientId"])
                assert not got & names[other], got


def test_nobody_else_is_let_in_by_either_protocol():
    for kind in SENSORS:
        for who in ("stranger", "tech-admin-1"):
            told = refusal(kind, who)
            assert told and "bound" in told, (kind, who, told)
        for who in ("reader-1", "func-admin-1", "foreign", None):
            assert refusal(kind, who), (kind, who)


@contextlib.contextmanager
def coming_from(address):
    """From where connections are made: of many refusals of one address and reason the journal has a count only."""
    made = socket.create_connection
    socket.create_connection = lambda to, *more, **named: made(to, *more, source_address=(address, 0), **named)
    try:
        yield
    finally:
        socket.create_connection = made


def test_a_wrong_certificate_deposits_nothing_whatever_its_subject():
    holder = sensor()
    with Journal() as journal:
        for number, (who, code) in enumerate(wrong(holder, "operator-ca").items()):
            lax, address = tls(None), f"127.0.0.{100 + number}"
            lax.set_ciphers("DEFAULT@SECLEVEL=0") # for the client itself to use a weak certificate
            lax.load_cert_chain(PKI / f"{who}.pem", PKI / f"{who}.key")
            with coming_from(address):
                for kind in SENSORS:
                    assert refusal(kind, who, context=lax), (kind, who, code)
            journal.wait("session-refused", check=code, cn=f"^({holder})?$", peer=f"^{address}:")
    assert deposits_of(holder) == 0


if __name__ == "__main__":
    run(globals())
