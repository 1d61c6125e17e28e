"""A TCP forwarder between a client and the vault, which loses connections when a test wants it. It sees TLS and understands nothing."""
import socket
import threading


class Relay:
    """Listens on a port of its own (.port) or on `listener`, and forwards to `target` on loopback, until close()."""

    def __init__(self, target, listener=None):
        self.target = target
        self.listener = listener or socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.lock = threading.Lock()
        self.pairs = []          # (client's socket, vault's socket, who has ended it)
        self.accepted = 0
        self.refusing = False    # new connections are closed at once
        self.to_vault = threading.Event()
        self.to_client = threading.Event()
        self.to_vault.set()
        self.to_client.set()
        self.bytes_to_vault = self.bytes_to_client = 0
        self.ended_by_vault = 0  # connections that the vault ended first
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                if self.refusing:
                    raise OSError("refused")
                vault = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                client.close()
                continue
            for one in (client, vault):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            ended = []
            with self.lock:
                self.accepted += 1
                self.pairs.append((client, vault, ended))
            threading.Thread(target=self._forward, args=(client, vault, self.to_vault, "bytes_to_vault", ended), daemon=True).start()
            threading.Thread(target=self._forward, args=(vault, client, self.to_client, "bytes_to_client", ended), daemon=True).start()

    def _forward(self, source, sink, gate, counter, ended):
        try:
            while True:
                data = source.recv(65536)
                if not data:
                    break
                gate.wait()
                sink.sendall(data)
                setattr(self, counter, getattr(self, counter) + len(data))
        except OSError:
            pass
        if "lost" in ended:
            return
        if not ended and counter == "bytes_to_client":
            self.ended_by_vault += 1
        ended.append(counter)
        for one in (source, sink):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def silence(self, to_client=True, to_vault=False):
        """From now on nothing gets through in these directions: it waits here, and is lost with a cut."""
        if to_client:
            self.to_client.clear()
        if to_vault:
            self.to_vault.clear()

    def cut(self):
        """Ends all connections, with what was kept back; new ones are forwarded again."""
        with self.lock:
            pairs, self.pairs = self.pairs, []
        for client, vault, ended in pairs:
            ended.append("cut")
            for one in (client, vault):
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        self.to_client.set()
        self.to_vault.set()

    def lose_client(self):
        """Ends the client's side of all connections and refuses new ones; the vault is not told."""
        self.refusing = True
        self.to_vault.clear() # the end does not get through either
        with self.lock:
            pairs = list(self.pairs)
        for client, _, ended in pairs:
            ended.append("lost")
            try:
                client.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR) # wakes accept()
        except OSError:
            pass
        self.listener.close()
        self.cut()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
