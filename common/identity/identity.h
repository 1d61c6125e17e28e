/*
 * The `identity` role, the same code in every daemon: who may hold which profile, as far as certificates say. It validates, asks CRLs and OCSP (through the `fetch` role), watches what
 * expires, and tells fronts again when an answer changes. Holds no private key, no database and no network. Message bodies: PROTOCOL.md, "Identity".
 */
#ifndef COFFRE_IDENTITY_H
#define COFFRE_IDENTITY_H

#include "common/identity/validate.h"
#include "common/system/role.h"
#include "common/values/health.h"

enum identity_message {
    /* front → identity */
    IDENTITY_PRESENT = 1,
    IDENTITY_GONE,
    /* identity → front */
    IDENTITY_SERVER = 10,
    IDENTITY_VERDICT,
    IDENTITY_STAPLE,
    IDENTITY_HEALTH,
    /* roster or query → identity: overrides in force */
    IDENTITY_OVERRIDES = 20,
    /* identity → fetch, fetch → identity */
    IDENTITY_FETCH = 30,
    IDENTITY_FETCHED,
};

enum {
    IDENTITY_CHAIN_MAX = 10,              /* certificates presented */
    IDENTITY_CERTIFICATE_MAX = 16 * 1024, /* bytes of one */
    IDENTITY_CHAIN_BYTES = TLS_CHAIN_BYTES, /* of all: no front takes more in a handshake */
    IDENTITY_ADDRESS_MAX = 64,
    IDENTITY_REASON_MAX = 1024,           /* of verdicts and fetches; longer ones are cut when sent */
    IDENTITY_PEM_MAX = 4 << 20,           /* bytes of a server's chain, or of all authorities */
    IDENTITY_DEPTH_MAX = 8,
    IDENTITY_OVERRIDES_MAX = 64,
    IDENTITY_NOTE_MAX = 512,              /* who set an override, and why */
    IDENTITY_URL_MAX = 2048,
    IDENTITY_TIMEOUT_MAX = 3600 * 1000,   /* ms */
    IDENTITY_BODY_MAX = 79 << 20,         /* bytes sent or fetched: a message between roles carries them whole */
    IDENTITY_PRESENT_BODY = 8 + 2 + IDENTITY_ADDRESS_MAX + 1 + 4 * IDENTITY_CHAIN_MAX + IDENTITY_CHAIN_BYTES,
    IDENTITY_OVERRIDES_BODY = 1 + IDENTITY_OVERRIDES_MAX * (1 + 8 + 2 * (2 + IDENTITY_NOTE_MAX)),
};

/*
 * Messages. Senders fail with ERR_RETRY when the peer does not take them, ERR_INPUT when a value is out of its bounds; nothing is written before channel_flush(). Readers are
 * pure; they refuse (ERR_INPUT) whatever no sender here would have written, and what they give is borrowed from the body.
 */

/* ---- IDENTITY_PRESENT ---- */
struct identity_present {
    uint64_t connection; /* unique in this front */
    struct slice address; /* numeric, without port */
    unsigned count;
    struct slice der[IDENTITY_CHAIN_MAX]; /* the peer's own first; borrowed */
};
MUST_CHECK bool identity_send_present(struct channel *c, const struct identity_present *p, struct err *e);
MUST_CHECK bool identity_read_present(struct slice body, struct identity_present *p, struct err *e);

/* IDENTITY_GONE: u64 connection. */
MUST_CHECK bool identity_send_gone(struct channel *c, uint64_t connection, struct err *e);
MUST_CHECK bool identity_read_gone(struct slice body, uint64_t *connection, struct err *e);

/* ---- IDENTITY_VERDICT: sent once for each PRESENT, and again whenever it changes ---- */
struct identity_verdict {
    uint64_t connection;
    unsigned profiles;         /* OR of 1 << enum roster_profile: what the certificate could hold, were its subject bound to it */
    unsigned barred;           /* the same of those that nothing but the peer's address forbids */
    enum identity_check check; /* why not more: the furthest any profile's validation came; IDENTITY_PASSED when `profiles` is not 0 */
    struct slice reason;       /* for log and journal; borrowed */
};
MUST_CHECK bool identity_send_verdict(struct channel *c, const struct identity_verdict *v, struct err *e);
MUST_CHECK bool identity_read_verdict(struct slice body, struct identity_verdict *v, struct err *e);

/* ---- IDENTITY_SERVER: what a front's TLS context is made of; again after each reload. IDENTITY_STAPLE: an OCSP response for it, empty: none ---- */
struct identity_server {
    struct slice chain;   /* PEM: server certificate, then its chain */
    struct slice anchors; /* PEM: every authority of the profiles offered */
    uint32_t depth;       /* the largest of the profiles offered */
};
MUST_CHECK bool identity_send_server(struct channel *c, const struct identity_server *s, struct err *e);
MUST_CHECK bool identity_read_server(struct slice body, struct identity_server *s, struct err *e);

/* IDENTITY_STAPLE: bytes response, at most OCSP_RESPONSE_MAX. IDENTITY_HEALTH: health_put(), health_read(). */
MUST_CHECK bool identity_send_staple(struct channel *c, struct slice response, struct err *e);
MUST_CHECK bool identity_read_staple(struct slice body, struct slice *response, struct err *e);
MUST_CHECK bool identity_send_health(struct channel *c, const struct health *h, struct err *e);

/* ---- IDENTITY_OVERRIDES (débrayage): revocation is not asked for these profiles until then ---- */
struct identity_override {
    enum roster_profile profile;
    int64_t until;     /* ms since 1970 */
    struct slice by;   /* who set it */
    struct slice why;
};
struct identity_overrides {
    unsigned count;
    struct identity_override at[IDENTITY_OVERRIDES_MAX];
};
MUST_CHECK bool identity_send_overrides(struct channel *c, const struct identity_overrides *o, struct err *e);
MUST_CHECK bool identity_read_overrides(struct slice body, struct identity_overrides *o, struct err *e);

/* ---- IDENTITY_FETCH, IDENTITY_FETCHED ---- */
struct identity_fetch {
    uint32_t request;
    struct slice url;     /* http: or https: only; the fetch role checks it again */
    struct slice type;    /* Content-Type of `body`; empty: GET */
    struct slice body;    /* POST */
    uint64_t most;        /* bytes of the answer, at most */
    uint64_t timeout;     /* ms for all of it */
};
struct identity_fetched {
    uint32_t request;
    uint16_t status;      /* HTTP; 0: none, `reason` says why */
    struct slice reason;
    struct slice body;
};
/* Visible ASCII (RFC 3986 2) with one of the two schemes, and something behind it. */
bool identity_url_valid(struct slice url);
MUST_CHECK bool identity_send_fetch(struct channel *c, const struct identity_fetch *f, struct err *e);
MUST_CHECK bool identity_read_fetch(struct slice body, struct identity_fetch *f, struct err *e);
MUST_CHECK bool identity_send_fetched(struct channel *c, const struct identity_fetched *f, struct err *e);
MUST_CHECK bool identity_read_fetched(struct slice body, struct identity_fetched *f, struct err *e);

/* What differs between daemons. */
struct identity_duty {
    unsigned offered;                                     /* OR of 1 << enum roster_profile; 0: no front here, certificates are only watched */
    const char *(*certificate)(const struct settings *s); /* the server certificate shown to strangers; NULL with `offered` 0 */
    uint64_t (*connections)(const struct settings *s);    /* that a front takes at once; NULL with `offered` 0 */
};
/* For the daemons' `check`: whatever the role would refuse to start with. ERR_INPUT begins with the key or the file. */
MUST_CHECK bool identity_check_settings(const struct settings *s, const struct identity_duty *duty, struct err *e);

/* The roles. Return the exit status. */
int identity_role_run(struct role *self, const struct identity_duty *duty);
int fetch_role_run(struct role *self);

#endif
