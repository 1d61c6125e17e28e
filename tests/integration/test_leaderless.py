#!/usr/bin/python3
"""RabbitMQ killed in the very moment in which a new depositor's queues are made: it leaves them without a leader, for good. The vault mends what was
never used, says what it may not touch, and loses no answer.

Rounds: LEADERLESS_ROUNDS, 2 unless told.
"""
import os
import signal
import sys

sys.path.insert(0, os.path.dirname(__file__))
from holders import *

ROUNDS = int(os.environ.get("LEADERLESS_ROUNDS", "2"))


def broker():
    context = ssl.create_default_context(cafile=str(PKI / "internal-ca.pem"))
    context.load_cert_chain(PKI / "coffre-ingest.pem", PKI / "coffre-ingest.key")
    return pika.BlockingConnection(pika.ConnectionParameters(
        host="localhost", port=port("AMQPS"), virtual_host="coffre", ssl_options=pika.SSLOptions(context, "localhost"),
        credentials=pika.credentials.ExternalCredentials()))


def there(connection, queue):
    try:
        connection.channel().queue_declare(queue, passive=True)
    except pika.exceptions.ChannelClosedByBroker:
        return False
    return True


def kill_broker():
    os.kill(pid_of("rabbitmq"), signal.SIGKILL)
    wait_until(lambda: pid_of("rabbitmq") is None, SOON, "RabbitMQ is gone")


def id_of(name):
    return value("SELECT id FROM role WHERE cn = %s", name)


def has_leader(queue):
    """As RabbitMQ's own node sees it."""
    said = instance("rabbitmqctl", "eval", f"ra:members({{'coffre_{queue}', node()}}, 1000).", check=False).stdout
    return "{ok," in said


def leaderless(queue, exchange, key):
    """A queue made and bound at once, as an older vault did it, over which RabbitMQ is killed, until that leaves it without a leader."""
    for _ in range(10):
        connection = broker()
        channel = connection.channel()
        channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum", "x-max-length-bytes": 1 << 30})
        channel.queue_bind(queue, exchange, key)
        kill_broker()
        instance("start", "rabbitmq")
        if not has_leader(queue):
            return
        broker().channel().queue_delete(queue)
    raise AssertionError(f"{queue} has a leader every time")


def headless(queue):
    """A queue that is there, emptied and without a leader: as a RabbitMQ leaves it that is killed while it makes it, but for certain."""
    instance("rabbitmqctl", "eval", f"""
        Name = 'coffre_{queue}', Member = {{Name, node()}},
        ok = ra:force_delete_server(quorum_queues, Member),
        Kind = {{module, rabbit_fifo, #{{name => Name, queue_resource => rabbit_misc:r(<<"coffre">>, queue, <<"{queue}">>)}}}},
        ok = ra:start_server(quorum_queues, Name, Member, Kind, [Member]).""")
    assert not has_leader(queue)


def answered(name, count=3):
    """A sensor deposits and reads its answers, and those of before; how many came."""
    with Stomp(name, timeout=SOON) as sensor:
        sensor.send("SUBSCRIBE", {"id": "0", "destination": f"/queue/{OUT}", "ack": "client-individual"})
        sent = {unique() for _ in range(count)}
        for client_id in sent:
            sensor.deposit(event(client_id), client_id)
        got = set()
        while not sent <= got:
            _, headers, _ = sensor.read()
            if headers.get("ClientId"):
                got.add(headers["ClientId"])
                sensor.send("ACK", {"id": headers["ack"]})
        return len(got)


def test_rabbitmq_killed_while_a_new_depositors_queues_are_made():
    """As it happens: a certificate is bound, the ledger makes its queues, RabbitMQ dies."""
    stuck = 0
    for turn in range(ROUNDS):
        mark = daemon_log("coffre-ingest")
        connection = broker()
        name = issue(short("tue"))
        bind(name)
        queue = f"{OUT}.{id_of(name)}"
        while not there(connection, queue):
            pass
        kill_broker()
        instance("start", "rabbitmq")
        wait_until(lambda: ready("coffre-ingest"), SOON * 2, "the vault takes deposits again")
        let_in(name, kinds=[StompSensor])
        assert answered(name) == 4
        made_anew = mark.count("code=queue-made-anew")
        stuck += made_anew > 0
        print(f"# round {turn}: {made_anew} queues made anew")
        wait_until(lambda: deposits_of(name) == 4, SOON, "all is numbered")
        unbind(name)
    print(f"# {stuck} of {ROUNDS} rounds left a queue without a leader")
    check_numbers()


def test_a_queue_that_may_hold_answers_is_told_and_left_alone():
    depositor = value("SELECT max(id) FROM role") + 1
    queue = f"{OUT}.{depositor}"
    leaderless(queue, OUT, str(depositor))
    wait_until(lambda: ready("coffre-ingest"), SOON * 2, "the vault takes deposits again")
    mark = daemon_log("coffre-ingest")
    name = issue(short("muet"))
    bind(name)
    assert id_of(name) == depositor
    mark.says("code=queue-without-leader", re.escape(queue), "ra:trigger_election")
    let_in(name, kinds=[StompSensor])
    wait_until(lambda: deposits_of(name) == 1, SOON, "its deposit is numbered")
    # Nobody else waits for it, however much is deposited; nor when the ledger begins anew.
    for _ in range(8):
        let_in(name, kinds=[StompSensor])
        assert answered("sensor-2") >= 3
    instance("restart", "coffre-ingest")
    assert answered("sensor-2") >= 3
    let_in(name, kinds=[StompSensor])
    wait_until(lambda: deposits_of(name) == 10, SOON, "its deposits are numbered")
    mark.says("code=answers-unconfirmed", re.escape(queue))
    said = program("coffre-ingest", "--config", RUN / "coffre.yml", "--status", check=False)
    assert said.returncode != 0 and f"answers to depositor {depositor} wait since " in said.stdout, said
    assert mark.count("queue-made-anew") == 0
    # The command that the log gives. What waited is delivered, nothing comes twice.
    instance("rabbitmqctl", "eval", f"ra:trigger_election({{'coffre_{queue}', node()}}).")
    wait_until(lambda: ready("coffre-ingest"), SOON, "answers are queued again")
    assert answered(name) >= 4
    check_numbers()
    unbind(name)


def test_a_queue_that_is_gone_in_the_middle_stops_nobody_else():
    """Its process in RabbitMQ ends: what is published there, or asked of it, ends connections, or is never answered."""
    name = sensor()
    let_in(name, kinds=[StompSensor])
    assert answered(name) >= 4
    queue = f"{OUT}.{id_of(name)}"
    member = f"{{'coffre_{queue}', node()}}"
    mark = daemon_log("coffre-ingest")
    instance("rabbitmqctl", "eval", f"ra:stop_server(quorum_queues, {member}).")
    try:
        let_in(name, kinds=[StompSensor])
        mark.says("code=queue-without-leader", re.escape(queue), seconds=SOON * 2)
        for _ in range(8):
            let_in(name, kinds=[StompSensor])
            assert answered("sensor-2") >= 3
    finally:
        instance("rabbitmqctl", "eval", f"ra:restart_server(quorum_queues, {member}).")
    assert answered(name) >= 4
    check_numbers()
    unbind(name)


def others_are_answered(newcomer, times):
    """So many times: one who reads his answers all the while, and two who begin to at once each time."""
    began = time.monotonic()
    with Stomp("sensor-2", timeout=SOON) as other:
        other.subscribe()
        for _ in range(times):
            with Stomp("sensor-1", timeout=SOON) as first, Stomp(newcomer, timeout=SOON) as second:
                first.subscribe()
                second.subscribe()
                for one in (other, first, second):
                    client_id = unique()
                    one.deposit(event(client_id), client_id)
                    one.answers([client_id])
    print(f"# others are answered {3 * times} times in {time.monotonic() - began:.1f} s")


def test_who_reads_a_queue_that_does_not_answer_keeps_nobody_else_waiting():
    """Silent: it is not waited for. Gone: RabbitMQ ends the connection on which such a queue is asked."""
    name, newcomer = sensor(), sensor()
    for one in (name, newcomer):
        let_in(one, kinds=[StompSensor])
        assert answered(one) >= 4
    mark, queue = daemon_log("coffre-ingest"), f"{OUT}.{id_of(name)}"
    member = f"{{'coffre_{queue}', node()}}"
    others_are_answered(newcomer, 1)
    headless(queue)
    with Stomp(name, timeout=SOON * 3) as reader:
        reader.subscribe()
        mark.says("code=queue-set-aside", re.escape(queue), "does not answer")
        others_are_answered(newcomer, 3)
        instance("rabbitmqctl", "eval", f"ra:stop_server(quorum_queues, {member}).")
        mark.says("code=queue-set-aside", re.escape(queue), "connection", seconds=2 * SOON)
        others_are_answered(newcomer, 3)
        assert mark.count("code=broker-down") == 0, "others lost their connection"
        instance("rabbitmqctl", "eval", f"ra:restart_server(quorum_queues, {member}).")
        instance("rabbitmqctl", "eval", f"ra:trigger_election({member}).")
        client_id = unique()
        reader.deposit(event(client_id), client_id)
        reader.answers([client_id])
    check_numbers()
    for one in (name, newcomer):
        unbind(one)


def test_who_is_revoked_before_the_answer_stops_nobody_else():
    name = sensor()
    let_in(name, kinds=[StompSensor])
    assert answered(name) >= 3
    mark, queue = daemon_log("coffre-ingest"), f"{OUT}.{id_of(name)}"
    headless(queue)
    let_in(name, kinds=[StompSensor])
    unbind(name)
    for _ in range(3):
        assert answered("sensor-2") >= 3
    mark.says("code=queue-without-leader", re.escape(queue), seconds=SOON * 2)
    instance("restart", "coffre-ingest")
    assert answered("sensor-2") >= 3
    instance("rabbitmqctl", "eval", f"ra:trigger_election({{'coffre_{queue}', node()}}).")
    check_numbers()


def test_a_queue_that_answers_and_confirms_nothing_is_sent_to_anew():
    """Another of the same name, in the place of one that was in use: RabbitMQ waits for what the ledger had sent to the first."""
    name = sensor()
    let_in(name, kinds=[StompSensor])
    assert answered(name) >= 3
    mark, queue = daemon_log("coffre-ingest"), f"{OUT}.{id_of(name)}"
    headless(queue)
    instance("rabbitmqctl", "eval", f"ra:trigger_election({{'coffre_{queue}', node()}}).")
    let_in(name, kinds=[StompSensor])
    mark.says("code=ledger-retry", re.escape(queue), "does not confirm", seconds=SOON * 2)
    assert answered(name) >= 4
    check_numbers()
    unbind(name)


def notices(queue):
    """The lots that are told in it; they stay there."""
    connection = broker()
    channel, lots = connection.channel(), []
    while (got := channel.basic_get(queue))[0] is not None:
        lots.append(int.from_bytes(got[2][:8], "big"))
    connection.close()
    return lots


def sealed_lots():
    return value("SELECT count(*) FROM lot WHERE container IS NOT NULL")


def announcer():
    return re.search(r"(?m)^role announce 0 .*$", (RUN / "state/coffre-sealer.status").read_text())[0]


def test_a_queue_of_notices_without_a_leader_makes_nobody_hear_twice():
    """The others hear of each lot once, of later ones too; the one hears of all once it has a leader."""
    exchange = f"Archive.{VAULT}.Out"
    queue, other = f"{exchange}.99999", f"{exchange}.{id_of('sensor-2')}"
    leaderless(queue, exchange, "")
    try:
        wait_until(lambda: ready("coffre-ingest"), SOON * 2, "the vault takes deposits again")
        wait_until(lambda: " ready " in announcer() or "has not confirmed" in announcer(), SOON * 2, announcer)
        mark, before = daemon_log("coffre-sealer"), value("SELECT coalesce(max(lot), 0) FROM lot WHERE container IS NOT NULL")
        answered("sensor-2")
        mark.says("code=notices-unconfirmed", seconds=SOON * 2)
        # a while, in which a notice sent again would have come several times
        wait_until(lambda: int((re.search(r"has not confirmed \d+ notices, the first for (\d+) s", announcer()) or [0, 0])[1]) >= 80, SOON * 4, announcer)
        later = sealed_lots()
        answered("sensor-2")
        wait_until(lambda: sealed_lots() > later, SOON, "another lot is sealed")
        last = value("SELECT max(lot) FROM lot WHERE container IS NOT NULL")
        wait_until(lambda: last in notices(other), SOON * 2, lambda: f"lot {last} is told: {notices(other)}")
        heard = [lot for lot in notices(other) if lot > before]
        print(f"# {len(heard)} notices of {len(set(heard))} lots to the others")
        assert len(heard) == len(set(heard)) >= 2, heard
        instance("rabbitmqctl", "eval", f"ra:trigger_election({{'coffre_{queue}', node()}}).")
        wait_until(lambda: "has not confirmed" not in announcer(), SOON * 6, announcer)
        assert set(heard) <= set(notices(queue)), (heard, notices(queue))
        assert value("SELECT count(*) FROM announcement WHERE announced_at IS NULL AND lot = ANY(%s)", heard) == 0
        # one of them tried the queue
        again = [lot for lot in notices(other) if lot in heard]
        assert len(again) <= 2 * len(heard) + 1, again
    finally:
        instance("rabbitmqctl", "eval", f"ra:trigger_election({{'coffre_{queue}', node()}}).", check=False)
        broker().channel().queue_delete(queue)
    check_numbers()


if __name__ == "__main__":
    run(globals())
