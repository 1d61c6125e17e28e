-- The store of one vault: database coffre_<operator>_<vault>, created once by coffre-ceremony.
-- Run as the owner, with psql variables :operator (text) and :number (integer).
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

-- Who may do what: a certificate's CN and OU bound to a profile. Rows are revoked, never removed.
CREATE TABLE role (
    id         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- of depositors: the number in their queues' names
    profile    text NOT NULL CHECK (profile IN ('depositor', 'reader', 'technical', 'functional')),
    cn         text NOT NULL,
    ou         text NOT NULL,
    bound_at   timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz
);
CREATE UNIQUE INDEX role_in_force ON role (profile, cn, ou) WHERE revoked_at IS NULL;

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

-- What a daemon says of the things only it sees, for /readyz; one row an item, written again every few seconds. An old row says that its daemon is silent.
CREATE TABLE health (
    daemon text        NOT NULL,
    item   text        NOT NULL,
    ok     boolean     NOT NULL,
    note   text        NOT NULL,
    at     timestamptz NOT NULL,
    PRIMARY KEY (daemon, item)
);

-- Closes the open lot and opens the next one; called with head already locked by the same transaction.
CREATE FUNCTION close_lot(why text) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
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
    NOTIFY lot_closed;
    RETURN h.lot + 1;
END $$;

-- Least privilege: one database role per duty. The ceremony creates them when absent.
REVOKE ALL ON SCHEMA public FROM PUBLIC;
REVOKE ALL ON FUNCTION close_lot(text) FROM PUBLIC;
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
GRANT EXECUTE ON FUNCTION close_lot(text) TO coffre_ledger;

GRANT SELECT ON vault, role, head, lot TO coffre_sealer;
GRANT UPDATE (sealer_epoch, close_asked) ON head TO coffre_sealer;
GRANT UPDATE (sealed_at, container, container_sha256, container_crc32, container_size, signatures, signature_digest) ON lot TO coffre_sealer;
GRANT SELECT (serial, lot, size, sha256, type) ON event TO coffre_sealer;
GRANT SELECT (lot, ordinal, sha256) ON lot_key TO coffre_sealer;
GRANT SELECT, INSERT ON announcement TO coffre_sealer;
GRANT UPDATE (announced_at) ON announcement TO coffre_sealer;
GRANT SELECT, INSERT, UPDATE ON health TO coffre_sealer;
GRANT EXECUTE ON FUNCTION close_lot(text) TO coffre_sealer;

GRANT SELECT ON vault, role, head, lot, lot_key, event TO coffre_exporter;
GRANT SELECT, INSERT ON extraction, extraction_segment TO coffre_exporter;
GRANT SELECT ON health TO coffre_exporter;

-- A sealed lot never changes, whoever asks.
CREATE FUNCTION refuse_reseal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.container IS NOT NULL THEN
        RAISE EXCEPTION 'lot % is sealed', OLD.lot;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER lot_sealed_for_ever BEFORE UPDATE ON lot FOR EACH ROW EXECUTE FUNCTION refuse_reseal();

COMMIT;
