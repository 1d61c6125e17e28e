#!/usr/bin/python3
"""Schemas of events: what does not fit is taken or refused as the policy says, and told; they change while deposits go on, by SIGHUP and by themselves; what does
not load leaves what was in force, and says so; a role that dies comes back with them.
"""
import contextlib
import os
import shutil
import signal
import sys

sys.path.insert(0, os.path.dirname(__file__))
from holders import *

CONFIG, FOLDER = RUN / "coffre.yml", RUN / "schemas"
XS = 'xmlns:xs="http://www.w3.org/2001/XMLSchema"'
FAMILY = """<xs:schema {xs}>
  <xs:include schemaLocation="essai/types.xsd"/>
  <xs:element name="{kind}">
    <xs:complexType>
      <xs:sequence>
        <xs:element name="IDOper" type="xs:string"/>
        <xs:element name="IDEvt" type="xs:positiveInteger"/>
        <xs:element name="IDCoffre" type="xs:int"/>
        <xs:element name="Mot" type="Mot"/>
      </xs:sequence>
    </xs:complexType>
  </xs:element>
</xs:schema>
"""
TYPES = """<xs:schema {xs}>
  <xs:simpleType name="Mot"><xs:restriction base="xs:string"><xs:pattern value="{pattern}"/></xs:restriction></xs:simpleType>
</xs:schema>
"""


def put(path, text):
    """Whole or not at all, under another name first."""
    path.parent.mkdir(exist_ok=True)
    os.chown(path.parent, OWNER.st_uid, OWNER.st_gid)
    new = path.parent / f".{path.name}.new"
    new.write_text(text)
    os.chown(new, OWNER.st_uid, OWNER.st_gid)
    new.rename(path)


def family(kind="ESSAI"):
    return FAMILY.format(xs=XS, kind=kind)


def types(pattern):
    return TYPES.format(xs=XS, pattern=pattern)


def word(text, kind="ESSAI"):
    return f"<{kind}><IDOper>{OPERATOR}</IDOper><IDEvt><!--SAFE_ID--></IDEvt><IDCoffre>{VAULT}</IDCoffre><Mot>{text}</Mot></{kind}>".encode()


def set_policy(**changed):
    text = CONFIG.read_text()
    for key, value in changed.items():
        text = re.sub(rf"(?m)^  {key}: .*\n", "", text)
        text = text.replace("  schemas: ", f"  {key}: {value}\n  schemas: ", 1)
    new = CONFIG.with_suffix(".changed")
    new.write_text(text)
    new.chmod(0o600)
    os.chown(new, OWNER.st_uid, OWNER.st_gid)
    new.rename(CONFIG)


def reload():
    os.kill(pid_of("coffre-ingest"), signal.SIGHUP)


def status():
    return (RUN / "state/coffre-ingest.status").read_text()


def metric(name):
    found = re.findall(rf"(?m)^{re.escape(name)}(?:\{{[^}}]*\}})? (\S+)$", (RUN / "state/coffre-ingest.prom").read_text())
    return sum(float(number) for number in found)


def judged(label):
    found = re.findall(rf'(?m)^coffre_inspected_schema_total\{{[^}}]*result="{label}"[^}}]*\}} (\S+)$', (RUN / "state/coffre-ingest.prom").read_text())
    return sum(float(number) for number in found)


def answer_to(body, who="sensor-1"):
    name = unique("schema")
    with Stomp(who) as s:
        s.subscribe()
        s.deposit(body, name)
        answer = s.answer_to(name)
        s.close()
    return answer


def reason(body, who="sensor-1"):
    """Why it is refused; "": it is not."""
    answer = answer_to(body, who)
    assert answer["CFJLStatus"] in ("CFJL_OK", "CFJL_INVALID_MESSAGE"), answer
    return answer.get("CFJLReason", "") if answer["CFJLStatus"] == "CFJL_INVALID_MESSAGE" else ""


def refused(body, *words):
    wait_until(lambda: all(word in reason(body) for word in words) and reason(body) != "", SOON, lambda: f"{body} is refused with {words}; it is told \"{reason(body)}\"")


def taken(body):
    wait_until(lambda: reason(body) == "", SOON, lambda: f"{body} is taken; it is told \"{reason(body)}\"")


@contextlib.contextmanager
def schemas(pattern="[a-z]+", **policy):
    """The family ESSAI beside those that are there, with the policies; as it was before, afterwards."""
    before = CONFIG.read_text()
    kept = FOLDER.with_name("schemas.kept")
    shutil.copytree(FOLDER, kept)
    put(FOLDER / "essai/types.xsd", types(pattern))
    put(FOLDER / "essai.xsd", family())
    set_policy(**{"schema_policy": "refuse", "schema_unknown": "record", **policy})
    reload()
    try:
        wait_until(lambda: re.search(r"(?m)^role schemas 0 pid \d+ ready 5 families", status()), SOON, status)
        yield
    finally:
        for name in ("essai.xsd", "essai", "autre.xsd"):
            shutil.rmtree(FOLDER / name, ignore_errors=True) if (FOLDER / name).is_dir() else (FOLDER / name).unlink(missing_ok=True)
        shutil.rmtree(kept)
        CONFIG.write_text(before)
        reload()
        wait_until(lambda: re.search(r"(?m)^role schemas 0 pid \d+ ready 4 families$", status()), SOON, status)


# ---- judging -------------------------------------------------------------------------------------

def test_an_event_that_does_not_fit_is_refused_and_the_others_are_not():
    with schemas(), Journal() as journal:
        taken(word("oui"))
        refused(word("NON"), "schema: /ESSAI/Mot (line 1): the value does not match its pattern [1839]")
        kept = unique()
        assert reason(word("oui").replace(b"<Mot>", f"<Secret{kept[2:]}/><Mot>".encode())) == "schema: /ESSAI/? (line 1): an element is missing or not expected here [1871]"
        assert value("SELECT count(*) FROM quarantine WHERE reason LIKE %s", "schema: /ESSAI/Mot %") > 0
        assert value("SELECT count(*) FROM quarantine WHERE reason LIKE %s", f"%{kept[2:]}%") == 0
        record = journal.wait("deposit-refused", reason="^schema: /ESSAI/Mot")
        assert record["fields"]["type"] == "ESSAI" and record["role"] == "ledger" and len(record["fields"]["deposit"]) == 32, record
        # no schema declares it: recorded, not refused
        taken(event(kind="INCONNU"))
        assert re.fullmatch(r"\d+", journal.wait("deposit-unfit", type="INCONNU", reason="^schema-unknown")["fields"]["serial"])
        # short codes are another vocabulary
        wait_until(lambda: metric("coffre_inspected_total") > 0, SOON, "metrics are written")
        before = judged("not-covered")
        taken(f"<s6><a>{OPERATOR}</a><d><!--SAFE_ID--></d><b>{VAULT}</b></s6>".encode())
        wait_until(lambda: judged("not-covered") > before and judged("valid") > 0 and judged("invalid") > 0, SOON, "events compared are counted")
    check_numbers()


def test_many_that_do_not_fit_and_are_taken_are_counted():
    flood, who = 100, sensor()
    number = str(value("SELECT id FROM role WHERE cn = %s", who))
    let_in(who)
    with schemas(), Journal() as journal:
        refused(word("NON"), "schema:") # they are in force
        with Stomp(who) as s:
            for _ in range(flood):
                s.deposit(event(kind="INCONNU"), unique("schema"), wait=False)
            for _ in range(flood):
                s.expect("RECEIPT")
            s.close()
        recorded = lambda: len(journal.find("deposit-unfit", depositor=f"^{number}$"))
        counted = lambda: sum(int(r["fields"]["records"]) for r in journal.find("deposit-unfit-omitted", depositor=f"^{number}$", reason="^schema-unknown$"))
        wait_until(lambda: recorded() + counted() == flood, SOON, lambda: f"{recorded()} records and {counted()} counted make {flood}")
        assert 0 < recorded() < flood, recorded()


def test_policies_change_while_it_runs():
    with schemas(), Journal() as journal:
        refused(word("NON"), "schema:")
        set_policy(schema_policy="record", schema_unknown="refuse")
        reload()
        taken(word("NON"))
        journal.wait("deposit-unfit", type="ESSAI", reason="^schema: /ESSAI/Mot")
        wait_until(lambda: metric("coffre_unfit_total") > 0, SOON, "those that do not fit are counted")
        refused(event(kind="INCONNU"), "schema-unknown: no schema declares this type")
        set_policy(schema_policy="off", schema_unknown="off")
        reload()
        taken(event(kind="INCONNU"))
        taken(word("NON"))
        set_policy(schema_policy="sometimes")
        reload()
        wait_until(lambda: "schema_policy: none of off, record, refuse" in status(), SOON, status)
        taken(word("NON"))
    check_numbers()


# ---- reload ----------------------------------------------------------------------------------------

class Deposits(Load):
    """Events that fit every schema here, from another sensor than the one that tries, until it ends; each is answered once, with OK."""

    def __init__(self, who="sensor-2"):
        super().__init__(threads=1)
        self.who, self.sent = who, 0

    def run(self):
        try:
            with Stomp(self.who) as s:
                s.subscribe()
                while not self.ending.is_set():
                    names = [unique("pendant") for _ in range(20)]
                    for name in names:
                        s.deposit(word("o"), name)
                    self.sent += len(names)
                    answers = s.answers(names)
                    assert sorted(answers) == sorted(names) and {a["CFJLStatus"] for a in answers.values()} == {"CFJL_OK"}, answers
                    self.done += len(names)
                s.close()
        except Exception as failure:
            self.failures.append(repr(failure))

    def __exit__(self, kind, *_):
        super().__exit__(kind)
        if kind is None:
            assert self.sent == self.done, (self.sent, self.done)


def test_schemas_change_under_load_by_signal_and_by_themselves():
    with schemas("[a-z]+"):
        before = stored()
        with Deposits() as deposits:
            for turn, (pattern, signalled) in enumerate([("o|[A-Z]+", True), ("[a-z]+", False), ("o|[A-Z]+", False), ("[a-z]+", True)]):
                deposits.more(20)
                put(FOLDER / "essai/types.xsd", types(pattern))  # not the entry: what it includes
                if signalled:
                    reload()
                refused(word("lettres" if turn % 2 == 0 else "LETTRES"), "schema: /ESSAI/Mot")
                taken(word("LETTRES" if turn % 2 == 0 else "lettres"))
            deposits.more(20)
        assert stored() >= before + deposits.sent
    check_numbers()


def test_what_does_not_load_leaves_what_was_in_force():
    with schemas(), Journal() as journal:
        log = daemon_log("coffre-ingest")
        put(FOLDER / "essai/types.xsd", types("[a-z]+").replace('base="xs:string"', 'base="xs:rien"'))
        put(FOLDER / "autre.xsd", family("AUTRE").replace('type="Mot"', 'type="xs:string"').replace('  <xs:include schemaLocation="essai/types.xsd"/>\n', ""))
        reload()
        log.says("code=schema-refused", "essai.xsd stays what it was", r"types\.xsd:2: ", "rien")
        assert "types.xsd:2" in journal.wait("schema-refused", family="essai.xsd", kept="yes")["fields"]["reason"]
        wait_until(lambda: re.search(r"(?m)^reload \S+ refused schemas 0: 1 of the schemas' families .* stays: .*types\.xsd:2", status()), SOON, status)
        wait_until(lambda: re.search(r"(?m)^role schemas 0 pid \d+ ready 6 families; changed and not taken: essai\.xsd$", status()), SOON, status)
        refused(word("NON"), "schema: /ESSAI/Mot")
        taken(word("oui"))
        # the others are not held up
        refused(word("oui", "AUTRE").replace(b"Mot>", b"Mots>"), "schema: /AUTRE/?")
        # a role that judges and starts again is given what was in force
        killed = children(pid_of("coffre-ingest"))["inspect"][0]
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: children(pid_of("coffre-ingest")).get("inspect", [killed])[0] != killed, SOON, "inspect starts again")
        assert "schema: /ESSAI/Mot" in reason(word("NON"))
        # nor is it lost with the role that reads it; nor when the other one follows
        for role in ("schemas", "inspect"):
            killed = children(pid_of("coffre-ingest"))[role][0]
            os.kill(killed, signal.SIGKILL)
            wait_until(lambda: children(pid_of("coffre-ingest")).get(role, [killed])[0] != killed, SOON, f"{role} starts again")
            wait_until(lambda: re.search(r"(?m)^role schemas 0 pid \d+ ready 6 families; changed and not taken: essai\.xsd$", status()), SOON, status)
            assert "schema: /ESSAI/Mot" in reason(word("NON"))
        # mended, without a signal
        put(FOLDER / "essai/types.xsd", types("[A-Z]+"))
        refused(word("oui"), "schema: /ESSAI/Mot")
        taken(word("NON"))
        wait_until(lambda: re.search(r"(?m)^reload \S+ done$", status()), SOON, status)
    check_numbers()


def test_what_cannot_be_read_at_all_is_refused_whole():
    with schemas():
        text = CONFIG.read_text()
        for wrong, said in (("schemas: [absent]", "No such file"), ("schemas: [state]", r"no \*\.xsd in it")):
            CONFIG.write_text(re.sub(r"(?m)schemas: \[schemas\].*", wrong, text))
            reload()
            wait_until(lambda: re.search(rf"(?m)^reload \S+ refused .*coffre.yml:\d+: .*ingest\.schemas.*{said}", status()), SOON, status)
            assert "schema: /ESSAI/Mot" in reason(word("NON"))
        CONFIG.write_text(text)
        reload()
        wait_until(lambda: re.search(r"(?m)^reload \S+ done$", status()), SOON, status)


def test_schemas_that_go_are_unknown_then():
    with schemas(schema_unknown="refuse"):
        taken(word("oui"))
        (FOLDER / "essai.xsd").unlink()
        refused(word("oui"), "schema-unknown")
        put(FOLDER / "essai.xsd", family())
        taken(word("oui"))


def test_roles_that_die_come_back_with_the_schemas():
    with schemas():
        for role in ("schemas", "inspect", "schemas"):
            killed = children(pid_of("coffre-ingest"))[role][0]
            os.kill(killed, signal.SIGKILL)
            assert "schema: /ESSAI/Mot" in reason(word("NON"))
            assert reason(word("oui")) == ""
            wait_until(lambda: children(pid_of("coffre-ingest")).get(role, [killed])[0] != killed, SOON, f"{role} starts again")
            wait_until(lambda: ready("coffre-ingest"), SOON, status)
    check_numbers()


ENDLESS = "(.*a.*a.*a.*a.*b|.*)c?"  # takes the fifth power of the length, until the library gives it up


@contextlib.contextmanager
def slow_schemas(steps, **policy):
    """The type LENT, whose values are compared with as many such patterns, one derived from the other."""
    texts = [f'<xs:simpleType name="Mot{n}"><xs:restriction base="{f"Mot{n - 1}" if n else "xs:string"}"><xs:pattern value="{ENDLESS}"/></xs:restriction></xs:simpleType>'
             for n in range(steps)]
    with schemas(**policy):
        put(FOLDER / "essai/lent.xsd", f"<xs:schema {XS}>{''.join(texts)}</xs:schema>")
        put(FOLDER / "autre.xsd", family("LENT").replace("types.xsd", "lent.xsd").replace('type="Mot"', f'type="Mot{steps - 1}" maxOccurs="unbounded"'))
        wait_until(lambda: re.search(r"(?m)^role schemas 0 pid \d+ ready 6 families$", status()), SOON, status)
        taken(word("bbb", "LENT"))
        yield


@contextlib.contextmanager
def a_sensor():
    """One that nothing is remembered of."""
    name = issue(short("lent"))
    bind(name)
    try:
        let_in(name, kinds=[StompSensor])
        answer_to(event(), name)  # reads those of before, too
        yield name
    finally:
        unbind(name)


def inspect_pid():
    return children(pid_of("coffre-ingest")).get("inspect")


def test_events_that_take_long_are_given_up():
    """One sensor's, again and again: inspect goes on, the others' deposits are not held up."""
    endless = word("</Mot><Mot>".join(["a" * 50] * 2000), "LENT")
    with a_sensor() as slow, slow_schemas(1, schema_policy="record"), Journal() as journal:
        before = inspect_pid()
        with Deposits() as deposits, Stomp(slow) as sensor:
            deposits.more(20)
            sensor.subscribe()
            names = [unique("lent") for _ in range(100)]
            started, others = time.monotonic(), deposits.done
            for name in names:
                sensor.deposit(endless, name)
            answers = sensor.answers(names)
            print(f"# 100 endless events: {time.monotonic() - started:.1f} s, {deposits.done - others} of another sensor meanwhile")
            assert sorted(answers) == sorted(names) and {a["CFJLStatus"] for a in answers.values()} == {"CFJL_OK"}, (len(answers), set(answers) ^ set(names))
            deposits.more(20)
        journal.wait("deposit-unfit", type="LENT", reason="^schema: /LENT/Mot .*: takes too long to be compared with a schema")
        assert inspect_pid() == before
        set_policy(schema_policy="refuse")
        reload()
        wait_until(lambda: "too long" in reason(endless, slow), SOON, "the policy has changed")
        # another sensor's of the same type; and an ordinary one of this sensor's, once it does not owe so much any more
        assert reason(word("bbb", "LENT")) == ""
        wait_until(lambda: reason(word("bbb", "LENT"), slow) == "", SOON * 2, "ordinary events are compared again")
    check_numbers()


def test_an_event_that_nothing_can_interrupt_ends_inspect_once():
    """The others' deposits and this one's answer come all the same; then nothing of its depositor is compared for a while, so that it cannot be done again."""
    endless = word("a" * 1000, "LENT")
    with a_sensor() as slow, slow_schemas(60, schema_policy="record"), Journal() as journal:
        log = daemon_log("coffre-ingest")
        with Deposits() as deposits:
            assert reason(endless, slow) == ""
            deposits.more(20)
            log.says("code=schema-spared", r"depositor \d+ are not compared")
            journal.wait("deposit-unfit", type="LENT", reason="^schema: not compared")
            wait_until(lambda: ready("coffre-ingest"), SOON, status)
            before, ended = inspect_pid(), log.count("code=inspect-ended")
            for _ in range(5):
                assert reason(endless, slow) == ""
            deposits.more(20)
            assert inspect_pid() == before and log.count("code=inspect-ended") == ended
        # what is new in inspect's place is told
        os.kill(before[0], signal.SIGKILL)
        wait_until(lambda: inspect_pid() not in (None, before), SOON, "inspect starts again")
        assert reason(endless, slow) == ""
        assert log.count("code=inspect-stuck") == 2 and log.count("code=schema-spared") == 1
    check_numbers()


# ---- the check ------------------------------------------------------------------------------------

def checked():
    done = subprocess.run([BIN / "coffre-ingest", "--config", CONFIG, "--check-config"], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_the_check_names_what_does_not_load():
    with schemas():
        assert checked() == (0, f"coffre-ingest: {CONFIG} is correct\n"), checked()
        put(FOLDER / "essai/types.xsd", types("[a-z"))
        status_, said = checked()
        assert status_ == 0 and "code=schema-not-loaded" in said and "essai/types.xsd:2: " in said, said
        os.symlink("/etc/hostname", FOLDER / "essai/dehors.xsd")
        put(FOLDER / "essai/types.xsd", types("[a-z]+").replace("<xs:simpleType", '<xs:include schemaLocation="dehors.xsd"/><xs:simpleType', 1))
        assert "is not below" in checked()[1], checked()


def test_the_regulators_schemas_load_but_for_those_with_a_fault():
    xsd = SHARED / "anj/xsd"
    if not xsd.is_dir():
        print(f"    {xsd} is absent: nothing to load")
        return
    text, place = CONFIG.read_text(), RUN / "anj"
    shutil.copytree(xsd, place, dirs_exist_ok=True)
    try:
        CONFIG.write_text(re.sub(r"(?m)schemas: \[schemas\].*", "schemas: [anj]", text))
        status_, said = checked()
        assert status_ == 0, said
        for name in ("PO.xsd", "FA.xsd"):
            assert re.search(rf"schema-not-loaded .*{name}: .*cercle\.xsd:\d+: .*poker:player", said), said
        assert said.count("schema-not-loaded") == 2, said
    finally:
        CONFIG.write_text(text)
        shutil.rmtree(place)


run(globals())
