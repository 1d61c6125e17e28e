"""What revocation is tested with: the authorities of the instance's PKI, an HTTP server of CRLs that can misbehave in every way, and OpenSSL's
own OCSP responder behind a relay that delays, cuts, corrupts or replays what it says.
"""
import contextlib
import http.server as web
import os
import pathlib
import re
import socket
import subprocess
import threading
import time

from coffre import LOG, PKI, ROOT, RUN, wait_until

OWNER = RUN.stat()
CLIENT = ["keyUsage=critical,digitalSignature", "extendedKeyUsage=clientAuth"]
GIGABYTE = 1 << 30


def as_owner():
    """For subprocess: files and processes of the instance's user, not root's."""
    return {"user": OWNER.st_uid, "group": OWNER.st_gid, "extra_groups": []} if os.geteuid() == 0 else {}


# ---- authorities -----------------------------------------------------------------------------------

def pki(*words):
    """deploy/pki.sh on the instance's PKI."""
    done = subprocess.run([ROOT / "deploy/pki.sh", PKI, *map(str, words)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"pki.sh {' '.join(map(str, words))}: {done.stdout}{done.stderr}"


def issue(name, ca="operator-ca", key="ec", subject=None, extensions=CLIENT, **options):
    """A certificate by an authority of the instance; its name. Options: days, from (days, or "30s"; from_ in Python), md."""
    words = [word for option, value in options.items() for word in (f"-{option.rstrip('_')}", value)]
    pki("issue", *words, name, ca, key, subject or f"/C=FR/O=Operateur 4512/OU=Capteurs/CN={name}", *extensions)
    return name


def responder_url(url):
    """The extensions of a client's certificate that names its OCSP responder."""
    return [*CLIENT, f"authorityInfoAccess=OCSP;URI:{url}"]


def crl(ca="operator-ca", days=365, out=None):
    """A fresh CRL, in the folder the vault reads or elsewhere; its path."""
    out = pathlib.Path(out or PKI / "crl" / f"{ca}.crl")
    pki("crl", ca, days, out)
    return out


def serial(name):
    return openssl("x509", "-in", PKI / f"{name}.pem", "-noout", "-serial").strip().partition("=")[2]


def openssl(*words, check=True, **more):
    done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, timeout=60, **more)
    assert done.returncode == 0 or not check, f"openssl {' '.join(map(str, words))}: {done.stdout}{done.stderr}"
    return done.stdout


def flip(path, offset=-20):
    """The file's bytes with one bit of its content turned: of the DER when it is PEM."""
    data = bytearray(path.read_bytes())
    if b"-----BEGIN" in data:
        data = bytearray(subprocess.run(["openssl", "crl", "-in", path, "-outform", "DER"], capture_output=True, check=True).stdout)
    data[offset] ^= 1
    return bytes(data)


# ---- CRLs by HTTP ------------------------------------------------------------------------------------

class CrlServer:
    """http://127.0.0.1:PORT/NAME answers as serve(NAME, how) said: bytes or a file, or one of the ways below. `asked` are the names asked for."""

    def __init__(self):
        self.ways, self.asked, self.sent = {}, [], {}
        owner = self
        self.ending = threading.Event()

        class Handler(web.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                name = self.path.lstrip("/")
                owner.asked.append(name)
                with contextlib.suppress(ConnectionError, TimeoutError):
                    way = owner.ways.get(name, owner.absent)
                    way(self, name) if callable(way) else owner.whole(self, way)

            def log_message(self, *_):
                pass

        self.server = web.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, name):
        return f"http://127.0.0.1:{self.port}/{name}"

    def serve(self, name, how):
        self.ways[name] = how

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.server.shutdown()
        self.server.server_close()

    # The ways. Each ends when the asker does.

    @staticmethod
    def whole(request, what, status=200, kind="application/pkix-crl"):
        data = what.read_bytes() if isinstance(what, pathlib.Path) else what
        request.send_response(status)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)

    def absent(self, request, _name):
        self.whole(request, b"not here", 404, "text/plain")

    def page(self, request, _name):
        """An error page with status 200, as portals do."""
        self.whole(request, b"<html><body>please log in</body></html>", 200, "text/html")

    def silent(self, _request, _name):
        self.ending.wait(600)

    def slow(self, what):
        """A byte now and then: it would take hours."""
        def way(request, _name):
            request.send_response(200)
            request.send_header("Content-Length", str(len(what)))
            request.end_headers()
            for byte in what:
                if self.ending.wait(0.2):
                    return
                request.wfile.write(bytes([byte]))
                request.wfile.flush()
        return way

    def endless(self, declared):
        """A gigabyte, with its length said or not; sent[NAME] is how much of it was taken."""
        def way(request, name):
            request.send_response(200)
            if declared:
                request.send_header("Content-Length", str(GIGABYTE))
            else:
                request.send_header("Connection", "close")
                request.close_connection = True
            request.end_headers()
            self.sent[name] = 0
            while self.sent[name] < GIGABYTE and not self.ending.is_set():
                request.wfile.write(b"\x30" * 65536)
                self.sent[name] += 65536
        return way

    @staticmethod
    def redirect(location):
        def way(request, _name):
            request.send_response(302)
            request.send_header("Location", location)
            request.send_header("Content-Length", "0")
            request.end_headers()
        return way

    def truncated(self, what):
        """Says its length and closes half-way."""
        def way(request, _name):
            request.send_response(200)
            request.send_header("Content-Length", str(len(what)))
            request.end_headers()
            request.wfile.write(what[:len(what) // 2])
            request.close_connection = True
        return way


# ---- OCSP ---------------------------------------------------------------------------------------------

reserved = []


def free_port():
    """A port that nobody else is given as long as this process lives: it is bound here, and nobody listens until somebody does who may use addresses again."""
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind(("127.0.0.1", 0))
    reserved.append(one)
    return one.getsockname()[1]


class Responder:
    """`openssl ocsp` answering from an authority's database; ended when the test ends. signer: another certificate than the authority's responder."""

    SIGNERS = {"operator-ca": "ocsp-responder", "regulator-ca": "ocsp-responder-regulator"}

    def __init__(self, ca="operator-ca", signer=None, minutes=60, more=()):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        signer = signer or self.SIGNERS[ca]
        words = ["openssl", "ocsp", "-index", PKI / "ca" / ca / "index.txt", "-CA", PKI / f"{ca}.pem", "-rsigner", PKI / f"{signer}.pem",
                 "-rkey", PKI / f"{signer}.key", "-port", self.port, "-nmin", minutes, *more]
        # It tolerates no connection on which nothing is asked: whether it listens is in its log.
        self.log = LOG / f"ocsp-{self.port}.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(list(map(str, words)), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        wait_until(self.listens, 60, "the OCSP responder listens")

    def listens(self):
        said = self.log.read_text(errors="replace")
        assert self.process.poll() is None, f"openssl ocsp has ended: {said}"
        return "waiting for OCSP client connections" in said

    def answer(self, name, ca="operator-ca", nonce=False):
        """What it says of a certificate, DER: to be replayed."""
        out = RUN / f"ocsp-{name}.der"
        openssl("ocsp", "-issuer", PKI / f"{ca}.pem", "-cert", PKI / f"{name}.pem", *([] if nonce else ["-no_nonce"]), "-url", self.url,
                "-respout", out, "-noverify")
        data = out.read_bytes()
        out.unlink()
        return data

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.log.unlink()


class Relay:
    """Between the vault and a responder: one HTTP exchange at a time, done as `way` says. `asked` counts what came."""

    def __init__(self, responder=None):
        self.responder, self.way, self.asked, self.said = responder, self.through, 0, []
        self.server = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.url = f"http://127.0.0.1:{self.server.getsockname()[1]}/"
        self.ending = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                peer, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer):
        with peer, contextlib.suppress(OSError, ValueError):
            request = self._request(peer)
            if request:
                self.asked += 1
                peer.sendall(self.way(request))

    @staticmethod
    def _request(peer):
        data = b""
        while b"\r\n\r\n" not in data:
            more = peer.recv(65536)
            if not more:
                return None
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        while len(body) < int(found.group(1) if found else 0):
            body += peer.recv(65536)
        return head + b"\r\n\r\n" + body

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.server.close()

    # The ways: request in, response out, whole HTTP messages.

    def through(self, request):
        # The responder looks whether its database has changed before it waits for a request, not after: only the second answer is today's.
        self._exchange(request)
        self.said.append(self._exchange(request))
        return self.said[-1]

    def _exchange(self, request):
        with socket.create_connection(("127.0.0.1", self.responder.port), timeout=30) as server:
            server.sendall(request)
            data = b""
            while more := server.recv(65536):
                data += more
        return data

    @staticmethod
    def http(body, status="200 OK"):
        return (f"HTTP/1.0 {status}\r\nContent-Type: application/ocsp-response\r\nContent-Length: {len(body)}\r\n\r\n").encode() + body

    def delayed(self, seconds):
        def way(request):
            self.ending.wait(seconds)
            return self.through(request)
        return way

    def silent(self, _request):
        self.ending.wait(600)
        return b""

    @staticmethod
    def cut(_request):
        return b""

    def corrupted(self, request):
        data = bytearray(self.through(request))
        data[-20] ^= 1
        return bytes(data)

    def replayed(self, der):
        return lambda _request: self.http(der)

    def error(self, status):
        return lambda _request: self.http(b"", status)


def dead_url():
    """Where nobody listens."""
    return f"http://127.0.0.1:{free_port()}/"
