"""Tables of the JMS part: what was measured, and whether the project's aims against ActiveMQ are reached."""
from deposits import table_cpu
from jms import ALONE, WHOLE
from settings import median

RATE, P50, P99 = "perSecond", "p50ms", "p99ms"
SERVER, TAKING, CLIENT = "serverCpuMicroseconds", "takingCpuMicroseconds", "clientCpuMicroseconds"

# An aim: what, in which mode (None: in each), at least or at most, which multiple of ActiveMQ's.
AIMS = [
    (SERVER, None, "at most", 0.25),
    (RATE, "sync sends, 8 threads", "at least", 1.2),
    (RATE, "sync sends, 64 threads", "at least", 4),
    (RATE, "transactions of 100, 8 threads", "at least", 1.5),
    (P50, "sync sends, 1 thread", "at most", 2),
]
NAMES = {RATE: "messages a second", P50: "p50", SERVER: "server CPU a message"}


def table_figures(rounds, theirs):
    lines = ["| load | | Coffre, ledger stopped | ActiveMQ | Coffre, whole vault |", "|---|---|---|---|---|"]
    rows = [("messages a second", RATE, "{:,.0f}"), ("send or commit, p50 ms", P50, "{:.2f}"), ("p99 ms", P99, "{:.2f}"),
            ("server CPU a message, us: all its processes", SERVER, "{:.1f}"),
            ("of that, what makes it durable: ingest's front, keys and relay, RabbitMQ", TAKING, "{:.1f}"),
            ("client CPU a message, us", CLIENT, "{:.1f}")]
    for mode, runs in rounds.items():
        for label, key, form in rows:
            cells = [form.format(median(runs[name], lambda r: r[key])) if name != theirs or key != TAKING else "all"
                     for name in (ALONE, theirs, WHOLE)]
            lines.append(f"| {mode} | {label} | {' | '.join(cells)} |")
    return lines


def table_aims(rounds, theirs):
    lines = ["| aim, against ActiveMQ | load | aimed | Coffre, ledger stopped | | Coffre, whole vault | |", "|---|---|---|---|---|---|---|"]
    for key, only, bound, multiple in AIMS:
        for mode in rounds if only is None else (only,):
            base = median(rounds[mode][theirs], lambda r: r[key])
            cells = []
            for name in (ALONE, WHOLE):
                ratio = median(rounds[mode][name], lambda r: r[key]) / base
                reached = ratio >= multiple if bound == "at least" else ratio <= multiple
                cells += [f"{ratio:.2f}", "reached" if reached else "NOT reached"]
            lines.append(f"| {NAMES[key]} | {mode} | {bound} {multiple} | {' | '.join(cells)} |")
    return lines


def report(rounds, activemq):
    theirs = activemq.name
    lines = ["JMS: the ActiveMQ client (Debian's libactivemq-java), persistent text messages; ActiveMQ 5.17 with KahaDB, its journal on disk before "
             "each answer, nobody consuming. Compare it with Coffre, ledger stopped: both only make durable what they take. The whole vault "
             "also numbers, checks, encrypts, stores in PostgreSQL and seals; its processor time counts until all is sealed.", ""]
    lines += table_figures(rounds, theirs) + [""] + table_aims(rounds, theirs) + [""]
    for mode in ("sync sends, 8 threads", "transactions of 100, 8 threads"):
        for name in (ALONE, WHOLE):
            lines += table_cpu(rounds[mode][name], f"Coffre, {name}, {mode}: process") + [""]
    return lines
