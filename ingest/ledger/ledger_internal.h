/*
 * The ledger's parts, which only ledger*.c share. A session is everything between connecting to both servers and the
 * first thing that goes wrong: then all of it is dropped, RabbitMQ delivers again what was not acknowledged, and what
 * had been committed is recognised as duplicate. A batch goes collecting → checking → looking → numbered → written →
 * answered; up to LEDGER_BATCHES at once, each step in order.
 */
#ifndef COFFRE_INGEST_LEDGER_INTERNAL_H
#define COFFRE_INGEST_LEDGER_INTERNAL_H

#include "common/journal/journal.h"
#include "common/system/broker.h"
#include "common/system/database.h"
#include "common/system/secret.h"
#include "common/values/quota.h"
#include "ingest/ledger/batch.h"
#include "ingest/ledger/envelope.h"
#include "ingest/roles.h"

enum {
    LEDGER_BATCHES = 4,
    LEDGER_PARTS = 2,              /* one being written, one being prepared */
    LEDGER_GATHER_MS = 10,           /* a batch that is small waits so long for more: one transaction, one answer for them all */
    LEDGER_GATHER_ENOUGH = 128,      /* deposits: with so many it waits no longer */
    LEDGER_PREFETCH = 64,          /* packs RabbitMQ hands out unacknowledged */
    LEDGER_BATCH_BYTES = 16 << 20, /* of deposits in one batch, but for one larger pack */
    LEDGER_RECORDS_MAX = ROLE_MESSAGE_MAX - 64,
    LEDGER_KEEP_BYTES = 8 << 20, /* a buffer larger than that is given back when its batch is over */
    LEDGER_CHECK_MS = 10000,     /* inspect has so long for one message */
    LEDGER_SPARE_S = 600,        /* after an event that has taken that long, its depositor's are not compared with schemas for so long */
    LEDGER_SPARED_MAX = 64,      /* depositors of which that is known */
    LEDGER_FENCE_RETRY_MS = 250,
    LEDGER_ROSTER_MS = 5000, /* new depositors are looked for that often */
    LEDGER_INVALID_MAX = 1000, /* of one transaction: each is a statement, and RabbitMQ expects heart-beats between transactions */
    LEDGER_UNSEEN_MAX = 8,   /* then look-ups are left to the unique index, until it finds a duplicate */
    LEDGER_PARKED = 0, /* instead of a depositor: a pack set aside */
    LEDGER_REPUBLISH_MS = 1000,
    LEDGER_UNCONFIRMED_MS = 10000, /* after which it is told that RabbitMQ does not confirm */
    LEDGER_STUCK_MS = 30000,       /* after which what a queue that answers has not confirmed is sent anew */
    LEDGER_TELL_MS = 60000,        /* … and told again */
    LEDGER_REPUBLISH_MAX = 30,      /* times; then an answer is given up, its sensor asks again */
    LEDGER_LOCK_CLASS = 0x43464c47, /* advisory lock (LEDGER_LOCK_CLASS, vault number): the active ledger holds it */

    CHANNEL_CONSUME = 1, /* on the consuming connection */
    CHANNEL_PUBLISH = 2,
    CHANNEL_REPLY = 3, /* no confirms */

    LEDGER_REPLY_BYTES = 64 << 10,   /* a message to a temporary queue is ended at that size */
    LEDGER_REPLIES_BYTES = 16 << 20, /* of replies that RabbitMQ does not take: more are dropped */
};

enum ledger_batch_state {
    LEDGER_FREE,       /* its table of identities stays until it is used again */
    LEDGER_COLLECTING, /* packs are opened into it */
    LEDGER_CHECKING,   /* inspect has it */
    LEDGER_CHECKED,
    LEDGER_LOOKING, /* PostgreSQL looks for duplicates */
    LEDGER_LOOKED,  /* being numbered, encrypted, written, part by part */
    LEDGER_WRITTEN, /* committed: answers are on their way */
};

struct ledger_batch {
    enum ledger_batch_state state;
    struct buf records;          /* plaintext: framed deposit records */
    size_t count;                /* of them */
    struct batch_entry *entries; /* owned; filled in when collecting ends */
    size_t capacity;             /* entries allocated */
    struct batch_table table;    /* identities of its new entries */
    struct batch_entry *stored;  /* owned; what PostgreSQL had: id, serial, lot only */
    struct batch_table stored_table;
    size_t stored_count;
    bool looked;        /* PostgreSQL was asked for duplicates */
    size_t checked;     /* entries judged */
    size_t prepared;    /* entries in parts, from the start */
    size_t written;     /* entries whose part is committed */
    struct buf *parked; /* owned; packs nobody can read, as received */
    unsigned parked_count;
    unsigned outgoing; /* messages not yet confirmed */
    uint64_t last_tag; /* deliveries up to this one are in this batch or before */
    uint64_t began_ms;
};

/* A lot's key, made here and kept until the next one. */
struct ledger_key {
    struct secret key;
    uint64_t lot; /* 0: none */
    unsigned ordinal;
    bool planned;    /* a part that inserts its row exists or is committed */
    struct buf file; /* CMS for the regulator */
    char id[ENVELOPE_KEY_ID_MAX + 1];
};

struct ledger_quarantined {
    size_t entry, at, len; /* index in the batch; place in the part's `quarantine` */
};

/* What one transaction writes: part of a batch, in one lot. */
struct ledger_part {
    struct ledger_batch *batch; /* NULL: free */
    size_t from, to;            /* entries */
    struct batch_head before, after;
    enum batch_room close;              /* the lot is closed behind it */
    unsigned events;                    /* new ones: rows in `copy` */
    struct buf copy;                    /* binary COPY */
    struct buf quarantine;              /* CMS files one after the other */
    struct ledger_quarantined *invalid; /* owned */
    unsigned invalid_count, invalid_capacity;
    unsigned ordinal;
    char key_id[ENVELOPE_KEY_ID_MAX + 1];
    bool insert_key;
    struct buf key_file;
};

enum ledger_write_state { WRITE_IDLE, WRITE_HEAD, WRITE_COPY_IN, WRITE_COPYING, WRITE_COPIED, WRITE_COMMIT };

/* A message to RabbitMQ until it is confirmed. */
struct ledger_message {
    struct ledger_batch *batch; /* NULL: set aside, see ledger_silence.c */
    struct buf body;
    uint32_t depositor; /* or LEDGER_PARKED */
    uint64_t since;     /* ms */
    uint64_t tag;       /* 0: not sent */
    uint64_t asked_at;  /* ms: because it was not confirmed, its queue was asked whether it answers */
    uint64_t send_at;   /* not before, ms; once sent: when */
    unsigned attempts;
    bool returned;
};

/* A depositor whose queue does not answer. */
struct ledger_silence {
    uint32_t depositor;
    bool told;
    uint64_t again_at, again_ms; /* when it is asked again, how long that is put off */
    uint64_t dropped;
};

/* A depositor whose queues are being seen to. */
enum ledger_providing_state { LEDGER_PROVIDE_NOTHING, LEDGER_PROVIDE_ASKED, LEDGER_PROVIDE_ROUTED, LEDGER_PROVIDE_DELETED };

struct ledger_providing {
    enum ledger_providing_state state;
    uint32_t depositor;
    uint64_t until; /* ms: RabbitMQ answers by then, or not at all */
    bool patient;   /* others wait for nothing: what does not answer is looked into */
    bool archives;  /* which of the two queues is asked */
    bool unrouted;  /* nothing is bound to its key */
    bool locked;    /* against other ledgers */
    bool anew[2];   /* the one has been made anew, the other */
};

/* A message to a temporary queue, not yet sent. */
struct ledger_reply {
    char key[PACK_REPLY_KEY_SIZE];
    struct buf body;
};

struct ledger {
    struct role *self;
    const struct settings *settings;
    /* For the role's life. */
    struct channel *inspect;                                        /* NULL: not linked */
    struct journal *journal;
    struct quota *records; /* owned; how many of what sensors bring about, by depositor, reason and event */
    bool inspect_ready;                                             /* it has what it judges by */
    char *queue_in, *exchange_in, *exchange_out, *exchange_archive; /* owned */
    char vault[32];                                                 /* "<operator>/<N>" */
    struct batch_limits limits;
    uint64_t batch_events;
    struct pack_reader *reader;
    struct pack_writer *writer;
    struct batch_identity *identity;
    struct digester *digester;
    struct envelope *envelope;
    struct envelope_recipients *recipients;
    struct ledger_key key;
    bool draining;
    bool orphaned;
    bool misconfigured; /* the database is another vault's, or not one to work with */
    /* For a session. */
    struct broker *consumer, *publisher;
    struct broker *maker;  /* while depositors' queues are seen to */
    struct ledger_providing providing;
    char silent_queue[64]; /* the last one found that does not answer; empty: none */
    uint64_t told_at;      /* when it was last said that answers are not confirmed */
    struct database *write, *look;
    bool fenced; /* the lock is ours, the epoch too */
    uint64_t epoch;
    uint64_t keyed_lot; /* the last one whose keys in PostgreSQL are known: their ordinals continue */
    unsigned next_ordinal;
    uint64_t fence_next, fence_since;
    struct batch_head head; /* as it will be when all prepared parts are committed */
    struct ledger_batch batches[LEDGER_BATCHES];
    unsigned first, used; /* ring: oldest batch and number in use */
    struct ledger_part parts[LEDGER_PARTS];
    unsigned part_first, part_used;
    enum ledger_write_state writing; /* of parts[part_first] */
    struct ledger_batch *checking;
    size_t check_from, check_to; /* entries inspect has */
    unsigned check_failures;     /* of inspect, on these entries */
    bool check_singly, check_plain; /* one by one; without comparing it with schemas */
    struct {
        uint32_t depositor;
        uint64_t until_ms;
    } spared[LEDGER_SPARED_MAX]; /* for inspect, which has forgotten it */
    unsigned spared_count;
    uint64_t check_sent;
    struct ledger_batch *looking;
    unsigned unseen;     /* look-ups in a row that found nothing */
    struct buf *waiting; /* owned; raw packs that no batch takes yet, oldest first */
    uint64_t *waiting_tags;
    unsigned waiting_first, waiting_count;
    uint64_t consumer_polled;
    struct ledger_message *messages; /* owned */
    unsigned message_count, message_capacity;
    unsigned aside_count; /* of them: set aside */
    size_t aside_bytes;
    struct ledger_silence *silences; /* owned */
    unsigned silence_count;
    struct ledger_reply *replies; /* owned, oldest first */
    unsigned reply_count, reply_capacity;
    size_t reply_bytes;
    uint32_t *declared; /* owned; depositors whose queues are there */
    unsigned declared_count;
    uint64_t roster_next;
    /* Figures. */
    struct {
        uint64_t events, duplicates, invalid, unfit, parked, batches, transactions, sessions, replies, replies_dropped;
    } figures;
    uint64_t reported_at, reported_batches, trimmed;
};

uint64_t ledger_now(void); /* ms, monotonic */

/* The i-th batch in use, 0 the oldest; NULL when there are fewer. */
struct ledger_batch *ledger_batch_at(struct ledger *l, unsigned i);

/* ledger_intake.c: RabbitMQ → batches → inspect. */
MUST_CHECK bool ledger_consume(struct ledger *l, struct err *e);
MUST_CHECK bool ledger_check(struct ledger *l, struct err *e);
/* Does this batch still wait for more deposits? */
bool ledger_gathers(const struct ledger *l, const struct ledger_batch *b);
void ledger_inspect_gone(struct ledger *l);
void ledger_batch_reset(struct ledger_batch *b); /* free again, plaintext wiped, identities kept */
void ledger_batch_clear(struct ledger_batch *b); /* everything given back */

/* ledger_part.c: numbers, encryption. */
MUST_CHECK bool ledger_prepare(struct ledger *l, struct err *e);
void ledger_part_reset(struct ledger_part *p);
void ledger_parts_drop(struct ledger *l, const struct batch_head *head); /* all prepared work again from `head` */
void ledger_part_clear(struct ledger_part *p);

/* ledger_store.c: fence, duplicates. */
MUST_CHECK bool ledger_store_open(struct ledger *l, struct err *e);
MUST_CHECK bool ledger_fence(struct ledger *l, struct err *e);
MUST_CHECK bool ledger_look(struct ledger *l, struct err *e);

/* ledger_write.c: one transaction for each part. */
MUST_CHECK bool ledger_write(struct ledger *l, struct err *e);
bool ledger_wants_to_write(const struct ledger *l); /* COPY data waits for the socket */

/* ledger_answer.c: answers, parking, acknowledgements. */
MUST_CHECK bool ledger_answer_open(struct ledger *l, struct err *e);
MUST_CHECK bool ledger_answer(struct ledger *l, struct ledger_batch *b, struct err *e);
MUST_CHECK bool ledger_publish(struct ledger *l, struct err *e);
bool ledger_has_sent(const struct ledger *l, uint32_t depositor); /* what is not confirmed */
bool ledger_is_stuck(const struct ledger *l, uint32_t depositor); /* … for longer than RabbitMQ takes when the queue answers */
void ledger_message_done(struct ledger *l, unsigned index); /* it leaves the list; those behind it move up */
void ledger_messages_drop(struct ledger *l);
/* The message that waits for longest to be confirmed, or to be sent to a queue that does not answer, when that is too long; NULL: none. */
const struct ledger_message *ledger_unconfirmed(const struct ledger *l);
/* The answer to an entry as a framed record; `reply`: with the deposit's correlation, for a temporary queue. */
void ledger_put_answer(struct wire_writer *w, const struct batch_entry *entry, bool reply);

/* ledger_roster.c: whose queues are seen to. */
MUST_CHECK bool ledger_roster(struct ledger *l, struct err *e);
bool ledger_roster_is_due(const struct ledger *l);                              /* at once */
void ledger_roster_again(struct ledger *l, uint32_t depositor);                 /* its queues, at once */
void ledger_roster_wants(struct ledger *l, uint32_t depositor);                 /* the same unless they have been seen to */
bool ledger_may_send(const struct ledger *l, const struct ledger_message *m);   /* its queue is there and answers, as far as is known */

/*
 * ledger_queues.c: a depositor's queues, there and bound; begun, and gone on with until l->providing says LEDGER_PROVIDE_NOTHING, while l->look has nothing else under way. False: the session is
 * over. What only an operator can mend is told.
 */
MUST_CHECK bool ledger_queues_begin(struct ledger *l, uint32_t depositor, bool patient, struct err *e);
MUST_CHECK bool ledger_queues_go_on(struct ledger *l, struct err *e);
void ledger_queues_done(struct ledger *l); /* the connection used for it ends */

/* ledger_silence.c: depositors whose queue does not answer. */
void ledger_silence_begin(struct ledger *l, uint32_t depositor); /* messages to it that are not sent are set aside, or given up */
void ledger_silence_end(struct ledger *l, uint32_t depositor);
bool ledger_silence_holds(const struct ledger *l, uint32_t depositor);
bool ledger_silence_is_news(struct ledger *l, uint32_t depositor);  /* the first time it is asked */
void ledger_silence_heed(struct ledger *l, unsigned index);         /* a new message: the same when it is to one of them */
uint32_t ledger_silence_due(const struct ledger *l);                /* who is to be asked again, each in its turn; 0: nobody */
void ledger_silence_asked(struct ledger *l, uint32_t depositor);    /* in vain: later again */
void ledger_silences_drop(struct ledger *l);

/* ledger_journal.c: what is refused or does not fit in a part that is committed; once a second, and at the end (`all`), what of it was only counted. */
struct quota *ledger_quota_new(void);
void ledger_tell(struct ledger *l, const struct ledger_part *p);
void ledger_tell_omitted(struct ledger *l, bool all);

/* ledger_reply.c: answers to temporary queues. */
void ledger_reply(struct ledger *l, const struct ledger_batch *b);
MUST_CHECK bool ledger_reply_publish(struct ledger *l, struct err *e);
void ledger_replies_drop(struct ledger *l);

#endif
