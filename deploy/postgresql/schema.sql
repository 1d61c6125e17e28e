-- The store of one vault: database coffre_<operator>_<vault>, created once by coffre-ceremony.
-- Run as the owner, with psql variables :operator (text) and :number (integer). The part after the line "-- AGAIN" may be run on a vault
-- of an earlier version too, any number of times, and makes it this one: coffre-ceremony upgrade does.
--
-- Nothing here is ever updated or deleted once sealed; no daemon's role has the right to.

BEGIN;

-- One row: what this database is. Daemons refuse to start when their configuration disagrees.
CREATE TABLE vault (
    only_one     boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    format       integer NOT NULL DEFAULT 1,
    operator     text    NOT NULL CHECK (operator ~ '^[0-9]{4}$'),
    number       integer NOT NULL CHECK (number BETWEEN 1 AND 999),
    genesis      bytea,                 -- genesis.xml, written once by the ceremony
    certificates bytea                  -- PEM: CA, seal and TSA certificates at birth
);
INSERT INTO vault (operator, number) VALUES (:'operator', :number);

-- Who may do what: a certificate's CN and OU, and its serial number or an alternative name where wanted (added below), bound to a profile.
-- Rows are revoked, never removed; they change only through role_propose() and role_decide().
CREATE TABLE role (
    id         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- of depositors: the number in their queues' names
    profile    text NOT NULL CHECK (profile IN ('depositor', 'reader', 'technical', 'functional')),
    cn         text NOT NULL,
    ou         text NOT NULL,
    bound_at   timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz
);

-- One row: where the sequence stands. Locked (FOR UPDATE) first by every transaction of ledger and sealer,
-- so that a lot is exactly the serials between two closings.
CREATE TABLE head (
    only_one      boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    ledger_epoch  bigint NOT NULL DEFAULT 0,  -- raised by each ledger that takes over: the fence
    sealer_epoch  bigint NOT NULL DEFAULT 0,  -- the same for sealers
    next_serial   bigint NOT NULL DEFAULT 1,
    lot           bigint NOT NULL DEFAULT 1,  -- the open lot
    lot_events    bigint NOT NULL DEFAULT 0,  -- in the open lot
    lot_bytes     bigint NOT NULL DEFAULT 0,
    lot_first_at  timestamptz,                -- when the open lot received its first event
    close_asked   text                        -- MotifCloture asked for by an operator, or NULL
);
INSERT INTO head DEFAULT VALUES;

-- Lots. Open: closed_at is null. Closed: waiting for its seal. Sealed: container is there.
CREATE TABLE lot (
    lot              bigint PRIMARY KEY,
    opened_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    closed_at        timestamptz,
    reason           text CHECK (reason IN ('age', 'nombre', 'taille', 'demande', 'arret', 'inactivite')),
    first_serial     bigint NOT NULL,
    last_serial      bigint,                  -- first_serial - 1 when empty
    event_bytes      bigint,                  -- of all encrypted events
    sealed_at        timestamptz,             -- genTime of the time-stamp
    container        bytea,                   -- lot-NNNNNN.asice, byte for byte
    container_sha256 bytea,
    container_crc32  bigint,                  -- for ZIP headers
    container_size   bigint,
    signatures       bytea,                   -- META-INF/signatures0.xml alone: the next lot's previous-signatures.xml
    signature_digest bytea                    -- SHA-256 of the decoded SignatureValue
);
ALTER TABLE lot ALTER container SET STORAGE EXTERNAL;
CREATE INDEX lot_unsealed ON lot (lot) WHERE container IS NULL;
INSERT INTO lot (lot, first_serial) VALUES (1, 1);

-- Lot keys, encrypted for the regulator: CMS files keys/<lot>-<ordinal>.p7m.
CREATE TABLE lot_key (
    lot     bigint  NOT NULL REFERENCES lot,
    ordinal integer NOT NULL CHECK (ordinal >= 1),
    sha256  bytea   NOT NULL,
    crc32   bigint  NOT NULL,
    body    bytea   NOT NULL,
    PRIMARY KEY (lot, ordinal)
);

-- Events, encrypted: CMS files events/<lot>/<serial>.p7m.
CREATE TABLE event (
    serial    bigint PRIMARY KEY,
    lot       bigint      NOT NULL,
    depositor integer     NOT NULL,
    received  timestamptz NOT NULL,  -- by the front
    size      integer     NOT NULL,  -- bytes of body
    crc32     bigint      NOT NULL,
    deposit   uuid        NOT NULL,  -- keyed hash of (depositor, ClientId, Digest): what makes a deposit one
    sha256    bytea       NOT NULL,  -- of body
    type      text        NOT NULL,  -- root element's name
    body      bytea       NOT NULL
);
ALTER TABLE event ALTER body SET STORAGE EXTERNAL;
CREATE UNIQUE INDEX event_deposit ON event (deposit);

-- Invalid deposits, encrypted under the open lot's key; never numbered.
CREATE TABLE quarantine (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    deposit   uuid        NOT NULL UNIQUE,
    depositor integer     NOT NULL,
    received  timestamptz NOT NULL,
    lot       bigint      NOT NULL,  -- whose key encrypts it
    ordinal   integer     NOT NULL,
    reason    text        NOT NULL,
    body      bytea       NOT NULL
);

-- What was asked of the exporter, and by whom.
CREATE TABLE extraction (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    asked_at     timestamptz NOT NULL DEFAULT now(),
    reader       text   NOT NULL,   -- CN and OU of the certificate
    request      jsonb  NOT NULL,   -- as asked
    first_lot    bigint NOT NULL,
    last_lot     bigint NOT NULL,
    events       bigint NOT NULL,
    segments     integer NOT NULL
);

-- How an extraction is divided, fixed when it is asked for: the same bytes whatever the configuration becomes.
CREATE TABLE extraction_segment (
    extraction bigint  NOT NULL REFERENCES extraction,
    segment    integer NOT NULL CHECK (segment >= 1),
    first_lot  bigint  NOT NULL,
    last_lot   bigint  NOT NULL,
    lot_bytes  bigint  NOT NULL, -- bytes of these lots in the ZIP, without README and certificates
    PRIMARY KEY (extraction, segment)
);

-- Archive notices: a row from the moment a lot is sealed, dated once RabbitMQ has taken its notice.
CREATE TABLE announcement (
    lot          bigint PRIMARY KEY REFERENCES lot,
    announced_at timestamptz
);
CREATE INDEX announcement_due ON announcement (lot) WHERE announced_at IS NULL;

-- Least privilege: one database role per duty. The ceremony creates them when absent.
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO coffre_roster, coffre_ledger, coffre_sealer, coffre_exporter;
GRANT SELECT (operator, number, format) ON vault TO coffre_roster, coffre_ledger, coffre_sealer;

GRANT SELECT ON role TO coffre_roster;

GRANT SELECT ON role TO coffre_ledger;
GRANT SELECT ON head TO coffre_ledger;
GRANT UPDATE (ledger_epoch, next_serial, lot_events, lot_bytes, lot_first_at) ON head TO coffre_ledger;
GRANT SELECT (lot, closed_at, first_serial) ON lot TO coffre_ledger;
GRANT SELECT (lot, ordinal), INSERT ON lot_key TO coffre_ledger;
GRANT SELECT (serial, lot, depositor, deposit), INSERT ON event TO coffre_ledger;
GRANT SELECT (deposit), INSERT ON quarantine TO coffre_ledger;

GRANT SELECT ON vault, role, head, lot TO coffre_sealer;
GRANT UPDATE (sealer_epoch, close_asked) ON head TO coffre_sealer;
GRANT UPDATE (sealed_at, container, container_sha256, container_crc32, container_size, signatures, signature_digest) ON lot TO coffre_sealer;
GRANT SELECT (serial, lot, size, sha256, type) ON event TO coffre_sealer;
GRANT SELECT (lot, ordinal, sha256) ON lot_key TO coffre_sealer;
GRANT SELECT, INSERT ON announcement TO coffre_sealer;
GRANT UPDATE (announced_at) ON announcement TO coffre_sealer;

GRANT SELECT ON vault, role, head, lot, lot_key, event TO coffre_exporter;
GRANT SELECT, INSERT ON extraction, extraction_segment TO coffre_exporter;

-- A sealed lot never changes, whoever asks.
CREATE FUNCTION refuse_reseal() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF OLD.container IS NOT NULL THEN
        RAISE EXCEPTION 'lot % is sealed', OLD.lot;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER lot_sealed_for_ever BEFORE UPDATE ON lot FOR EACH ROW EXECUTE FUNCTION refuse_reseal();

COMMIT;

-- AGAIN
BEGIN;
SET LOCAL client_min_messages = warning; -- what is there already is no news

-- What a daemon says of the things only it sees, for /readyz; one row an item, written again every few seconds. An old row says that its daemon is silent.
CREATE TABLE IF NOT EXISTS health (
    daemon text        NOT NULL,
    item   text        NOT NULL,
    ok     boolean     NOT NULL,
    note   text        NOT NULL,
    at     timestamptz NOT NULL,
    PRIMARY KEY (daemon, item)
);
GRANT SELECT, INSERT, UPDATE ON health TO coffre_sealer;
GRANT SELECT ON health TO coffre_exporter;

-- ---- the deduplication key: event.deposit means something only with the one that made it -----------------------------------------

ALTER TABLE vault ADD COLUMN IF NOT EXISTS deduplication bytea CHECK (octet_length(deduplication) = 32); -- a digest made with it; NULL: no ledger has come yet

-- Whether a ledger has the vault's deduplication key, by that digest: the first one's is the vault's, for ever. With another, what is deposited again would be numbered again.
CREATE OR REPLACE FUNCTION ledger_deduplicates(digest bytea) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    UPDATE vault SET deduplication = digest WHERE deduplication IS NULL;
    RETURN (SELECT deduplication = digest FROM vault);
END $$;
REVOKE ALL ON FUNCTION ledger_deduplicates(bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger_deduplicates(bytea) TO coffre_ledger;

-- ---- operations: what a technical administrator asks of the vault through the exporter ---------------------------------------------

CREATE TABLE IF NOT EXISTS operation (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    operation   text   NOT NULL CHECK (operation IN ('close-lot')),
    key         text   NOT NULL CHECK (octet_length(key) <= 64), -- the asker's own name for the request: asked again, it is the same one; '': none
    author      text   NOT NULL,       -- "CN=..., OU=..."
    certificate text   NOT NULL,       -- issuer and serial number
    origin      text   NOT NULL,       -- address
    reason      text   NOT NULL CHECK (reason ~ '[^ ]' AND octet_length(reason) <= 1000),
    ended_at    timestamptz,           -- done; until then it waits
    lot         bigint REFERENCES lot, -- the one that was closed
    CHECK ((ended_at IS NULL) = (lot IS NULL))
);
CREATE INDEX IF NOT EXISTS operation_waiting ON operation (id) WHERE ended_at IS NULL;
CREATE INDEX IF NOT EXISTS operation_recent ON operation (at);
CREATE UNIQUE INDEX IF NOT EXISTS operation_once ON operation (author, key) WHERE key <> '';

-- Closes the open lot and opens the next one; called with head already locked by the same transaction. Whatever closes it, who asked for that has it.
-- What runs with the owner's rights finds the owner's tables, whatever temporary ones its caller may have made.
CREATE OR REPLACE FUNCTION close_lot(why text) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    h     head%ROWTYPE;
    ended timestamptz; -- never before the lot's opening, whatever the clock does: lots that end before they begin could never be sealed
BEGIN
    SELECT * INTO STRICT h FROM head FOR UPDATE;
    UPDATE lot SET closed_at = greatest(clock_timestamp(), opened_at), reason = why, last_serial = h.next_serial - 1,
           event_bytes = h.lot_bytes
     WHERE lot = h.lot AND closed_at IS NULL
    RETURNING closed_at INTO ended;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'lot % is not open', h.lot;
    END IF;
    INSERT INTO lot (lot, first_serial, opened_at) VALUES (h.lot + 1, h.next_serial, ended);
    UPDATE head SET lot = h.lot + 1, lot_events = 0, lot_bytes = 0, lot_first_at = NULL, close_asked = NULL;
    WITH done AS (UPDATE operation SET ended_at = clock_timestamp(), lot = h.lot WHERE ended_at IS NULL RETURNING id)
    INSERT INTO role_outbox (event, operation) SELECT 'operation-done', id FROM done ORDER BY id;
    NOTIFY lot_closed;
    RETURN h.lot + 1;
END $$;
REVOKE ALL ON FUNCTION close_lot(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION close_lot(text) TO coffre_ledger, coffre_sealer;

-- Triggers need no right of whoever sets them off.
REVOKE ALL ON FUNCTION refuse_reseal() FROM PUBLIC;
ALTER FUNCTION refuse_reseal() SET search_path = pg_catalog, public, pg_temp;

-- ---- role bindings: who may do what, who decided it, and when revocation is not asked ----------------------------------------------

ALTER TABLE role
    ADD COLUMN IF NOT EXISTS serial text NOT NULL DEFAULT '' CHECK (serial ~ '^([1-9A-F][0-9A-F]{0,39})?$'), -- of the certificate, hexadecimal; '': any
    ADD COLUMN IF NOT EXISTS san    text NOT NULL DEFAULT '' CHECK (san ~ '^((DNS|email|URI|IP):.+)?$');     -- one of its alternative names; '': any
DROP INDEX IF EXISTS role_in_force;
CREATE UNIQUE INDEX role_in_force ON role (profile, cn, ou, serial, san) WHERE revoked_at IS NULL;

-- The history of bindings: each change that was proposed, and what became of it.
CREATE TABLE IF NOT EXISTS role_change (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    action      text    NOT NULL,              -- bind, revoke; quorum: how many people changes need from then on
    profile     text    NOT NULL,              -- of a binding, as the next four; '' of a quorum
    cn          text    NOT NULL,
    ou          text    NOT NULL CHECK (octet_length(ou) <= 255),
    serial      text    NOT NULL CHECK (serial ~ '^([1-9A-F][0-9A-F]{0,39})?$'),
    san         text    NOT NULL CHECK (san ~ '^((DNS|email|URI|IP):.+)?$' AND octet_length(san) <= 255),
    role        integer REFERENCES role,       -- to be revoked, or that came of it
    quorum      integer NOT NULL CHECK (quorum BETWEEN 1 AND 2),
    author      text    NOT NULL,              -- "CN=..., OU=..." or a user of the operating system
    certificate text    NOT NULL,              -- issuer and serial number, or "user ..."; two are one person when author or certificate is the same
    via         text    NOT NULL CHECK (via IN ('ceremony', 'exporter')),
    origin      text    NOT NULL,              -- address or host
    reason      text    NOT NULL,
    state       text    NOT NULL DEFAULT 'proposed' CHECK (state IN ('proposed', 'done', 'refused', 'expired')),
    decided_at  timestamptz,
    decided_by  text,
    decided_via text,
    decided_from text,
    decided_why text
);
ALTER TABLE role_change
    ADD COLUMN IF NOT EXISTS decided_certificate text,  -- as certificate
    ADD COLUMN IF NOT EXISTS people              integer, -- of a quorum: the new one
    DROP CONSTRAINT IF EXISTS role_change_action_check,
    DROP CONSTRAINT IF EXISTS role_change_profile_check,
    DROP CONSTRAINT IF EXISTS role_change_cn_check,
    DROP CONSTRAINT IF EXISTS role_change_what_check,
    ADD CONSTRAINT role_change_what_check CHECK (
        CASE WHEN action = 'quorum' THEN people IS NOT NULL AND people BETWEEN 1 AND 2 AND profile = '' AND cn = '' AND ou = '' AND serial = '' AND san = '' AND role IS NULL
             ELSE action IN ('bind', 'revoke') AND people IS NULL AND profile IN ('depositor', 'reader', 'technical', 'functional')
                  AND octet_length(cn) BETWEEN 1 AND 255 END);
CREATE UNIQUE INDEX IF NOT EXISTS role_change_waiting ON role_change (action, profile, cn, ou, serial, san) WHERE state = 'proposed';

-- How many people a change needs. The configuration (roles.quorum) may ask for more than is remembered here, which is remembered from then on; it takes
-- a change, decided by that many, to need fewer again: whoever can write a file cannot.
CREATE TABLE IF NOT EXISTS quorum (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    people   integer NOT NULL CHECK (people BETWEEN 1 AND 2),
    change   bigint REFERENCES role_change -- that made it so; NULL: since the vault's birth
);
INSERT INTO quorum (people) VALUES (1) ON CONFLICT DO NOTHING;

-- Débrayage: until then nobody asks whether certificates of this profile are revoked.
CREATE TABLE IF NOT EXISTS override (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    profile    text NOT NULL CHECK (profile IN ('depositor', 'reader', 'technical', 'functional')),
    until      timestamptz NOT NULL,
    author     text NOT NULL,
    origin     text NOT NULL,
    reason     text NOT NULL CHECK (reason ~ '[^ ]'),
    ended_at   timestamptz,                    -- before its time
    ended_by   text,
    ended_from text,
    CHECK (until > at AND until <= at + interval '7 days')
);
CREATE OR REPLACE VIEW override_in_force AS
    SELECT id, profile, until, author, reason FROM override WHERE ended_at IS NULL AND until > clock_timestamp();

-- What is still to be journaled of these, in order: a row from the transaction that made it true.
CREATE TABLE IF NOT EXISTS role_outbox (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event        text NOT NULL,                -- as in the journal
    change       bigint REFERENCES role_change,
    override     bigint REFERENCES override,
    journaled_at timestamptz
);
ALTER TABLE role_outbox ADD COLUMN IF NOT EXISTS operation bigint REFERENCES operation;
CREATE INDEX IF NOT EXISTS role_outbox_due ON role_outbox (id) WHERE journaled_at IS NULL;

-- History is written once: a change is decided once, an override ends once, nothing is ever removed.
CREATE OR REPLACE FUNCTION refuse_rewriting() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are never changed so', TG_TABLE_NAME;
END $$;

CREATE OR REPLACE FUNCTION guard_role_change() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF OLD.state <> 'proposed' OR NEW.state = 'proposed' OR (OLD.role IS NOT NULL AND NEW.role IS DISTINCT FROM OLD.role)
       OR (NEW.id, NEW.at, NEW.action, NEW.profile, NEW.cn, NEW.ou, NEW.serial, NEW.san, NEW.quorum, NEW.author, NEW.certificate, NEW.via, NEW.origin, NEW.reason, NEW.people)
          IS DISTINCT FROM
          (OLD.id, OLD.at, OLD.action, OLD.profile, OLD.cn, OLD.ou, OLD.serial, OLD.san, OLD.quorum, OLD.author, OLD.certificate, OLD.via, OLD.origin, OLD.reason, OLD.people) THEN
        RAISE EXCEPTION 'change % is history', OLD.id;
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE FUNCTION guard_override() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF OLD.ended_at IS NOT NULL OR NEW.ended_at IS NULL
       OR (NEW.id, NEW.at, NEW.profile, NEW.until, NEW.author, NEW.origin, NEW.reason)
          IS DISTINCT FROM (OLD.id, OLD.at, OLD.profile, OLD.until, OLD.author, OLD.origin, OLD.reason) THEN
        RAISE EXCEPTION 'override % is history', OLD.id;
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE FUNCTION guard_operation() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF OLD.ended_at IS NOT NULL OR NEW.ended_at IS NULL
       OR (NEW.id, NEW.at, NEW.operation, NEW.key, NEW.author, NEW.certificate, NEW.origin, NEW.reason)
          IS DISTINCT FROM (OLD.id, OLD.at, OLD.operation, OLD.key, OLD.author, OLD.certificate, OLD.origin, OLD.reason) THEN
        RAISE EXCEPTION 'operation % is history', OLD.id;
    END IF;
    RETURN NEW;
END $$;

-- Fewer people only by a change that as many have decided as were needed, and only once: by one that is younger than what is in force.
CREATE OR REPLACE FUNCTION guard_quorum() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF NEW.people < OLD.people AND NOT EXISTS (SELECT FROM role_change c WHERE c.id = NEW.change AND c.action = 'quorum' AND c.state = 'done'
                                               AND c.people = NEW.people AND c.quorum >= OLD.people AND c.id > coalesce(OLD.change, 0)) THEN
        RAISE EXCEPTION 'changes of role bindings need % people until as many agree otherwise', OLD.people;
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER operation_done_once BEFORE UPDATE ON operation FOR EACH ROW EXECUTE FUNCTION guard_operation();
CREATE OR REPLACE TRIGGER operation_stays BEFORE DELETE ON operation FOR EACH ROW EXECUTE FUNCTION refuse_rewriting();
CREATE OR REPLACE TRIGGER operation_is_kept BEFORE TRUNCATE ON operation EXECUTE FUNCTION refuse_rewriting();
CREATE OR REPLACE TRIGGER quorum_is_lowered_by_many BEFORE UPDATE ON quorum FOR EACH ROW EXECUTE FUNCTION guard_quorum();
CREATE OR REPLACE TRIGGER quorum_stays BEFORE DELETE ON quorum FOR EACH ROW EXECUTE FUNCTION refuse_rewriting();
CREATE OR REPLACE TRIGGER quorum_is_kept BEFORE TRUNCATE ON quorum EXECUTE FUNCTION refuse_rewriting();
CREATE OR REPLACE TRIGGER role_stays BEFORE DELETE ON role FOR EACH ROW EXECUTE FUNCTION refuse_rewriting();
CREATE OR REPLACE TRIGGER role_is_kept BEFORE TRUNCATE ON role EXECUTE FUNCTION refuse_rewriting();
CREATE OR REPLACE TRIGGER role_change_decided_once BEFORE UPDATE ON role_change FOR EACH ROW EXECUTE FUNCTION guard_role_change();
CREATE OR REPLACE TRIGGER role_change_stays BEFORE DELETE ON role_change FOR EACH ROW EXECUTE FUNCTION refuse_rewriting();
CREATE OR REPLACE TRIGGER role_change_is_kept BEFORE TRUNCATE ON role_change EXECUTE FUNCTION refuse_rewriting();
CREATE OR REPLACE TRIGGER override_ended_once BEFORE UPDATE ON override FOR EACH ROW EXECUTE FUNCTION guard_override();
CREATE OR REPLACE TRIGGER override_stays BEFORE DELETE ON override FOR EACH ROW EXECUTE FUNCTION refuse_rewriting();
CREATE OR REPLACE TRIGGER override_is_kept BEFORE TRUNCATE ON override EXECUTE FUNCTION refuse_rewriting();
CREATE OR REPLACE TRIGGER role_outbox_stays BEFORE DELETE ON role_outbox FOR EACH ROW EXECUTE FUNCTION refuse_rewriting();
CREATE OR REPLACE TRIGGER role_outbox_is_kept BEFORE TRUNCATE ON role_outbox EXECUTE FUNCTION refuse_rewriting();

-- What nobody decided within seven days is over.
CREATE OR REPLACE FUNCTION role_expire() RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    WITH ended AS (UPDATE role_change SET state = 'expired', decided_at = clock_timestamp(), decided_why = 'nobody decided within 7 days'
                   WHERE state = 'proposed' AND at < clock_timestamp() - interval '7 days' RETURNING id)
    INSERT INTO role_outbox (event, change) SELECT 'role-refused', id FROM ended ORDER BY id
$$;

-- One change at a time: nobody is the last administrator twice. What follows must see what the one before has done, which a transaction with a snapshot of its own would not.
CREATE OR REPLACE FUNCTION role_alone() RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
        RAISE EXCEPTION 'roles change in transactions that are read committed, not %', current_setting('transaction_isolation');
    END IF;
    LOCK TABLE role IN SHARE ROW EXCLUSIVE MODE;
END $$;

-- Whether a person, as changes name one, holds a profile now with that certificate: a binding by serial number is of no other, so that
-- a lost card's proposals go with its binding, whoever holds the next card.
DROP FUNCTION IF EXISTS role_administers(text), role_administers(text, text);
CREATE OR REPLACE FUNCTION role_holds(which text, person text, with_certificate text) RETURNS boolean LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT EXISTS (SELECT FROM role WHERE profile = which AND revoked_at IS NULL AND 'CN=' || cn || ', OU=' || ou = person
                      AND (serial = '' OR ' ' || serial = right(with_certificate, length(serial) + 1)))
$$;

-- Why a change cannot be now; 'done' when nothing is in its way.
CREATE OR REPLACE FUNCTION role_obstacle(c role_change) RETURNS text LANGUAGE plpgsql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF c.action = 'quorum' THEN
        RETURN CASE WHEN EXISTS (SELECT FROM quorum q WHERE q.people = c.people) THEN 'quorum-already' ELSE 'done' END;
    END IF;
    IF c.action = 'bind' THEN
        RETURN CASE WHEN EXISTS (SELECT FROM role r WHERE r.revoked_at IS NULL AND (r.profile, r.cn, r.ou, r.serial, r.san) = (c.profile, c.cn, c.ou, c.serial, c.san))
                    THEN 'bound-already'
                    WHEN (SELECT count(*) FROM role r WHERE r.revoked_at IS NULL) >= 100000 THEN 'too-many' -- ROSTER_ENTRIES_MAX: fronts hold no more
                    ELSE 'done' END;
    END IF;
    IF NOT EXISTS (SELECT FROM role r WHERE r.id = c.role AND r.revoked_at IS NULL) THEN
        RETURN 'revoked-already';
    END IF;
    -- Somebody must remain who may bind the next one.
    IF c.profile = 'functional' AND NOT EXISTS (SELECT FROM role r WHERE r.profile = 'functional' AND r.revoked_at IS NULL AND r.id <> c.role) THEN
        RETURN 'last-administrator';
    END IF;
    RETURN 'done';
END $$;

-- Makes a change true: the row of role or the quorum, the decision, and what the journal is to say.
CREATE OR REPLACE FUNCTION role_apply(c role_change, who text, with_certificate text, whence text, way text, why text) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    bound integer := c.role;
BEGIN
    IF c.action = 'bind' THEN
        INSERT INTO role (profile, cn, ou, serial, san) VALUES (c.profile, c.cn, c.ou, c.serial, c.san) RETURNING id INTO STRICT bound;
    ELSIF c.action = 'revoke' THEN
        UPDATE role SET revoked_at = now() WHERE id = bound;
    END IF;
    UPDATE role_change SET state = 'done', role = bound, decided_at = clock_timestamp(), decided_by = who, decided_via = way, decided_from = whence, decided_why = why,
           decided_certificate = with_certificate
     WHERE id = c.id;
    IF c.action = 'quorum' THEN
        UPDATE quorum SET people = c.people, change = c.id;
    END IF;
    INSERT INTO role_outbox (event, change) VALUES (CASE c.action WHEN 'bind' THEN 'role-bound' WHEN 'revoke' THEN 'role-revoked' ELSE 'role-quorum' END, c.id);
    RETURN bound;
END $$;

-- How a caller came: the exporter's administrators by their database role, the ceremony as the owner.
CREATE OR REPLACE FUNCTION role_way() RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT CASE session_user WHEN 'coffre_admin' THEN 'exporter' ELSE 'ceremony' END
$$;

-- The people a change needs: as many as the configuration asks for, at least as many as it ever has. What it asks for more is remembered, as a change of its own.
CREATE OR REPLACE FUNCTION role_require(asked integer, whence text) RETURNS integer LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    needed integer;
    c      role_change%ROWTYPE;
BEGIN
    SELECT q.people INTO STRICT needed FROM quorum q;
    IF asked <= needed THEN
        RETURN needed;
    END IF;
    PERFORM role_alone();
    SELECT q.people INTO STRICT needed FROM quorum q; -- as it is now that nobody else changes it
    IF asked > needed THEN
        INSERT INTO role_change (action, profile, cn, ou, serial, san, people, quorum, author, certificate, via, origin, reason)
        VALUES ('quorum', '', '', '', '', '', asked, needed, 'coffre.yml', 'coffre.yml', role_way(), whence, 'roles.quorum of the configuration')
        RETURNING * INTO STRICT c;
        PERFORM role_apply(c, c.author, c.certificate, whence, c.via, '');
    END IF;
    RETURN greatest(asked, needed);
END $$;

/*
 * Proposes to bind (what is named), to revoke (the role of that number, or without one what is named), or that changes need another number of people from
 * now on (that number); when one person is enough it is done at once. `people` is what the configuration asks for, see role_require().
 * outcome: done, proposed; not-allowed, role-unknown, bound-already, too-many, revoked-already, last-administrator, quorum-already, proposed-already.
 */
CREATE OR REPLACE FUNCTION role_propose(what text, which bigint, of_profile text, of_cn text, of_ou text, of_serial text, of_san text, why text, people integer,
                                        who text, with_certificate text, whence text,
                                        OUT outcome text, OUT change_id bigint, OUT role_id integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    c      role_change%ROWTYPE;
    way    text := role_way();
    needed integer;
BEGIN
    PERFORM role_alone();
    PERFORM role_expire();
    IF way = 'exporter' AND NOT role_holds('functional', who, with_certificate) THEN
        outcome := 'not-allowed';
        RETURN;
    END IF;
    needed := role_require(people, whence);
    c.action := what;
    IF what = 'quorum' THEN
        SELECT '', '', '', '', '', which INTO c.profile, c.cn, c.ou, c.serial, c.san, c.people;
    ELSIF what = 'bind' THEN
        SELECT of_profile, of_cn, of_ou, of_serial, of_san INTO c.profile, c.cn, c.ou, c.serial, c.san;
    ELSE
        SELECT r.id, r.profile, r.cn, r.ou, r.serial, r.san INTO c.role, c.profile, c.cn, c.ou, c.serial, c.san FROM role r
         WHERE CASE WHEN which IS NOT NULL THEN r.id = which
                    ELSE r.revoked_at IS NULL AND (r.profile, r.cn, r.ou, r.serial, r.san) = (of_profile, of_cn, of_ou, of_serial, of_san) END;
        IF NOT FOUND THEN
            outcome := 'role-unknown';
            RETURN;
        END IF;
    END IF;
    role_id := c.role;
    outcome := role_obstacle(c);
    IF outcome <> 'done' THEN
        RETURN;
    END IF;
    SELECT id INTO change_id FROM role_change w
     WHERE w.state = 'proposed' AND (w.action, w.profile, w.cn, w.ou, w.serial, w.san) = (c.action, c.profile, c.cn, c.ou, c.serial, c.san);
    IF FOUND THEN
        outcome := 'proposed-already';
        RETURN;
    END IF;
    INSERT INTO role_change (action, profile, cn, ou, serial, san, role, people, quorum, author, certificate, via, origin, reason)
    VALUES (c.action, c.profile, c.cn, c.ou, c.serial, c.san, c.role, c.people, needed, who, with_certificate, way, whence, why)
    RETURNING * INTO STRICT c;
    change_id := c.id;
    IF needed > 1 THEN
        INSERT INTO role_outbox (event, change) VALUES ('role-proposed', c.id);
        outcome := 'proposed';
        RETURN;
    END IF;
    role_id := role_apply(c, who, with_certificate, whence, way, '');
END $$;

/*
 * Approves or refuses a proposal. Only another person than its proposer may approve it; the proposer may withdraw it. A person is a subject, and a certificate.
 * outcome: done, refused; not-allowed, change-unknown, decided-already, expired, own-proposal, proposer-revoked, bound-already, too-many, revoked-already, last-administrator,
 * quorum-already.
 */
CREATE OR REPLACE FUNCTION role_decide(which bigint, approves boolean, why text, who text, with_certificate text, whence text,
                                       OUT outcome text, OUT role_id integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    c   role_change%ROWTYPE;
    way text := role_way();
BEGIN
    PERFORM role_alone();
    PERFORM role_expire();
    IF way = 'exporter' AND NOT role_holds('functional', who, with_certificate) THEN
        outcome := 'not-allowed';
        RETURN;
    END IF;
    SELECT * INTO c FROM role_change WHERE id = which FOR UPDATE;
    IF NOT FOUND THEN
        outcome := 'change-unknown';
    ELSIF c.state = 'expired' THEN
        outcome := 'expired';
    ELSIF c.state <> 'proposed' THEN
        outcome := 'decided-already';
    ELSIF NOT approves THEN
        UPDATE role_change SET state = 'refused', decided_at = clock_timestamp(), decided_by = who, decided_via = way, decided_from = whence, decided_why = why,
           decided_certificate = with_certificate
         WHERE id = c.id;
        INSERT INTO role_outbox (event, change) VALUES ('role-refused', c.id);
        outcome := 'refused';
    ELSIF c.author = who OR c.certificate = with_certificate THEN
        outcome := 'own-proposal';
    ELSIF c.via = 'exporter' AND NOT role_holds('functional', c.author, c.certificate) THEN
        outcome := 'proposer-revoked';
    ELSE
        outcome := role_obstacle(c);
        IF outcome = 'done' THEN
            role_id := role_apply(c, who, with_certificate, whence, way, why);
        END IF;
    END IF;
END $$;

/*
 * Asks for an operation on behalf of a technical administrator; the active sealer does what it finds waiting here. Head is not touched: a transaction of the exporter's that does not end
 * must hold up nobody who numbers or seals. Asked again under the same key, or in the same words
 * while it waits, it is the same request. outcome: asked, asked-already; not-allowed, too-many (4 wait, or 20 were asked for within a minute), key-used (for another one).
 */
CREATE OR REPLACE FUNCTION operation_ask(what text, called text, why text, who text, with_certificate text, whence text, OUT outcome text, OUT operation_id bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    o operation%ROWTYPE;
BEGIN
    PERFORM pg_advisory_xact_lock(1129273423, 0); -- before anything is read: one at a time
    IF NOT role_holds('technical', who, with_certificate) THEN
        outcome := 'not-allowed';
        RETURN;
    END IF;
    SELECT * INTO o FROM operation p WHERE p.author = who AND CASE WHEN called = '' THEN p.ended_at IS NULL AND p.key = '' AND (p.operation, p.reason) = (what, why)
                                                                   ELSE p.key = called END;
    IF FOUND THEN
        operation_id := o.id;
        outcome := CASE WHEN o.operation = what AND o.reason = why THEN 'asked-already' ELSE 'key-used' END;
        RETURN;
    END IF;
    IF (SELECT count(*) FROM operation WHERE ended_at IS NULL) >= 4
       OR (SELECT count(*) FROM operation p WHERE p.at > clock_timestamp() - interval '1 minute') >= 20 THEN
        outcome := 'too-many';
        RETURN;
    END IF;
    INSERT INTO operation (operation, key, author, certificate, origin, reason) VALUES (what, called, who, with_certificate, whence, why)
    RETURNING id INTO STRICT operation_id;
    INSERT INTO role_outbox (event, operation) VALUES ('operation-asked', operation_id);
    NOTIFY lot_close_asked;
    outcome := 'asked';
END $$;

-- Begins an override. outcome: done, override-already (one is in force for this profile), too-long, reason-missing.
CREATE OR REPLACE FUNCTION override_set(for_profile text, seconds bigint, why text, who text, whence text, OUT outcome text, OUT override_id bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    LOCK TABLE override IN SHARE ROW EXCLUSIVE MODE;
    IF seconds NOT BETWEEN 1 AND 7 * 86400 THEN
        outcome := 'too-long';
    ELSIF why !~ '[^ ]' THEN
        outcome := 'reason-missing';
    ELSIF EXISTS (SELECT FROM override_in_force o WHERE o.profile = for_profile) THEN
        outcome := 'override-already';
    ELSE
        INSERT INTO override (at, profile, until, author, origin, reason)
        VALUES (now(), for_profile, now() + seconds * interval '1 second', who, whence, why) RETURNING id INTO STRICT override_id;
        INSERT INTO role_outbox (event, override) VALUES ('override-set', override_id);
        outcome := 'done';
    END IF;
END $$;

-- Ends what is in force of this profile, or all of it (NULL); how many that were.
CREATE OR REPLACE FUNCTION override_end(for_profile text, who text, whence text) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    WITH ended AS (UPDATE override SET ended_at = clock_timestamp(), ended_by = who, ended_from = whence
                   WHERE id IN (SELECT f.id FROM override_in_force f WHERE for_profile IS NULL OR f.profile = for_profile) RETURNING id),
         told AS (INSERT INTO role_outbox (event, override) SELECT 'override-lifted', id FROM ended ORDER BY id RETURNING 1)
    SELECT count(*) FROM told
$$;

-- These records are in the journal's spool.
CREATE OR REPLACE FUNCTION role_journaled(which bigint[]) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    UPDATE role_outbox SET journaled_at = clock_timestamp() WHERE id = ANY (which) AND journaled_at IS NULL
$$;

REVOKE ALL ON FUNCTION refuse_rewriting(), guard_role_change(), guard_override(), guard_operation(), guard_quorum(), role_require(integer, text),
    operation_ask(text, text, text, text, text, text), role_expire(), role_alone(), role_holds(text, text, text), role_obstacle(role_change),
    role_apply(role_change, text, text, text, text, text), role_way(),
    role_propose(text, bigint, text, text, text, text, text, text, integer, text, text, text),
    role_decide(bigint, boolean, text, text, text, text), override_set(text, bigint, text, text, text), override_end(text, text, text),
    role_journaled(bigint[]) FROM PUBLIC;

-- The exporter's administrators: these functions and what they are about, nothing else. Overrides are the ceremony's.
GRANT USAGE ON SCHEMA public TO coffre_admin;
GRANT SELECT (operator, number, format) ON vault TO coffre_admin;
GRANT SELECT ON role, role_change, quorum, override, override_in_force, role_outbox, operation TO coffre_admin;
GRANT EXECUTE ON FUNCTION role_expire(), role_require(integer, text), role_journaled(bigint[]),
    role_propose(text, bigint, text, text, text, text, text, text, integer, text, text, text),
    role_decide(bigint, boolean, text, text, text, text) TO coffre_admin;
GRANT SELECT ON override_in_force TO coffre_roster, coffre_exporter;

-- The exporter's own requests: these, and those of readers (extraction, above).
GRANT SELECT ON operation TO coffre_exporter;
GRANT SELECT (ended_at) ON operation TO coffre_sealer;
GRANT EXECUTE ON FUNCTION operation_ask(text, text, text, text, text, text) TO coffre_exporter;

-- Large objects are nobody's business here, but everybody's by PostgreSQL's default: who may only read could fill the disk. So are advisory locks, by which a
-- role that has none to take could keep ledgers and sealers from becoming active. Only a superuser may say so.
DO $$
DECLARE
    f regprocedure;
BEGIN
    IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        FOR f IN SELECT oid FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND proname IN ('lo_creat', 'lo_create', 'lo_from_bytea', 'lo_put', 'lo_get', 'lo_open',
                 'lo_close', 'loread', 'lowrite', 'lo_lseek', 'lo_lseek64', 'lo_tell', 'lo_tell64', 'lo_truncate', 'lo_truncate64', 'lo_unlink', 'lo_import', 'lo_export') LOOP
            EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
        END LOOP;
        FOR f IN SELECT oid FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND proname ~ '^pg_(try_)?advisory_(xact_)?(un)?lock' LOOP
            EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO coffre_ledger, coffre_sealer, coffre_admin, %s', f,
                           (SELECT proowner::regrole FROM pg_proc WHERE oid = 'operation_ask(text, text, text, text, text, text)'::regprocedure)); -- as whom it runs
        END LOOP;
    END IF;
END $$;

COMMIT;
