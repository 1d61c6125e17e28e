#!/usr/bin/python3
"""The real JMS client loses its right in the middle of what it does: it gets an exception, nothing uncommitted is stored, and failover does not bring it back."""
import concurrent.futures
import os
import sys

sys.path[:0] = [os.path.join(os.path.dirname(__file__), folder) for folder in ("../integration", "jms")]
from sensors import *
from holders import SOON, pki, sensor as bound, unbind

URLS = {"ssl": ssl_url, "failover": lambda: failover_url(maxReconnectDelay=200), "bounded failover": lambda: failover_url(maxReconnectAttempts=3)}


def ready(name):
    """The stores of a new depositor, once the vault knows it."""
    stores = stock(name)

    def known():
        try:
            stores.connect(ssl_url()).close()
            return True
        except JavaError:
            return False
    wait_until(known, SOON, f"{name} may connect")
    return stores


def heard(connection, *words):
    """Exceptions of the connection's listener until one has one of these words."""
    said = []

    def came():
        one = connection.inbox.exception(1000)
        if one:
            said.append(one)
        return one and any(word in one for word in words)
    wait_until(came, SOON, f"the listener hears {words}: {said}")


def refused_for_good(stores, *words):
    """Each way of connecting ends in an exception that says why; none keeps trying."""
    for url in URLS.values():
        failure = refusal(lambda: stores.connect(url()), "JMSSecurityException")
        assert any(failure.says(word) for word in words), failure


def never(*calls):
    """They fail, or are not answered: behind failover the client lets whoever calls it after the end wait for ever."""
    done, _ = concurrent.futures.wait(calls, 10)
    assert all(call.exception() for call in done), "it was done without the right"


def lose(take_right, *words):
    for way, url in URLS.items():
        name = bound(key="rsa:2048")
        stores = ready(name)
        connection = stores.connect(url())
        before = stored()
        plain, session = connection.createSession(False, AUTO), connection.createSession(True, AUTO)
        writer, producer = producer_of(plain), producer_of(session)
        kept = [put(plain, writer) for _ in range(3)]
        for _ in range(5):
            put(session, producer, unique("perdu"))
        late = make(plain, unique("perdu"))
        take_right(name)
        heard(connection, *words)
        never(session.later.commit(), writer.later.send(late))
        refused_for_good(stores, *words)
        wait_stored(before + len(kept))
        connection.later.close()


def test_a_certificate_revoked_in_the_middle_of_a_transaction():
    lose(lambda name: pki("revoke", name, "keyCompromise"), "has been revoked")


def test_a_binding_revoked_in_the_middle_of_a_transaction():
    lose(unbind, "bound")


if __name__ == "__main__":
    run(globals())
