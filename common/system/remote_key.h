/*
 * A TLS private key that lives in another process: the front holds the public part and asks the `keys` role for each
 * private operation (PROTOCOL.md SIGN, SIGNED). RSA (PKCS#1 and PSS) and ECDSA, TLS 1.2 and 1.3.
 * The `keys` role reads nothing but its channels, and refuses blocks that are no TLS signature's.
 */
#ifndef COFFRE_REMOTE_KEY_H
#define COFFRE_REMOTE_KEY_H

#include <openssl/evp.h>

#include "common/system/role.h"

enum remote_key_message { REMOTE_KEY_SIGN = 1, REMOTE_KEY_SIGNED = 2 };
enum remote_key_kind { REMOTE_KEY_RSA = 1 /* padded block */, REMOTE_KEY_ECDSA = 2 /* digest */ };
enum {
    REMOTE_KEY_INPUT_MAX = 1024,
    REMOTE_KEY_MESSAGE_MAX = 2048,
    REMOTE_KEY_ID = 8,          /* bytes that name a key: the first of SHA-256 of its DER SubjectPublicKeyInfo */
    KEYS_HELD_MAX = 4,          /* keys that the role holds at once */
    KEYS_KEPT_MS = 60 * 1000,   /* how long it keeps one that was replaced */
};

/* The way to the `keys` role, shared by all keys that live there: those of certificates before a reload too. */
struct remote_line;
struct remote_key;

struct remote_line *remote_line_new(void);
/* Only after the keys that use it. NULL is a no-op. */
void remote_line_free(struct remote_line *l);
/*
 * The channel to the `keys` role, taken over (an earlier one is freed); NULL: the role is away, handshakes fail until it is
 * back. Call it from role_events.linked for kind "keys". A private operation waits at most `deadline_ms` for its answer.
 */
void remote_line_link(struct remote_line *l, struct channel *c);
void remote_line_set_deadline(struct remote_line *l, int deadline_ms); /* 2,000 unless told */
/* True when the keys role can be asked: its channel is there and alive. */
bool remote_line_linked(const struct remote_line *l);

/* The key of the first certificate in `pem`; `l` must outlive it. ERR_INPUT when unreadable or neither RSA nor EC. */
struct remote_key *remote_key_new(struct remote_line *l, struct slice pem, struct err *e);
/* Has something signed and verifies it: true when the keys role holds this key now. ERR_RETRY: it is away; ERR_DENIED: it does not know the key. */
MUST_CHECK bool remote_key_try(struct remote_key *k, struct err *e);
/* The name of a key on the way to the role. */
MUST_CHECK bool remote_key_name(EVP_PKEY *key, uint8_t name[REMOTE_KEY_ID], struct err *e);

void remote_key_free(struct remote_key *k); /* NULL is a no-op */

/* The key to give to a SSL_CTX: borrowed, lives as long as `k`. */
EVP_PKEY *remote_key_pkey(const struct remote_key *k);

/*
 * The `keys` role of either daemon; `path` tells which setting names the PEM private key. Serves every channel it is
 * linked with; reads the key again at reload, and when it is asked for one that it does not know: the new one then serves beside
 * the one before, which goes after KEYS_KEPT_MS; an unreadable one changes nothing. Returns the exit status.
 */
int keys_role_run(struct role *self, const char *(*path)(const struct settings *s));

/* The keys the role holds; the first is the one in force. Zeroed: none. */
struct keys_held {
    unsigned count;
    struct {
        EVP_PKEY *key; /* owned */
        uint8_t name[REMOTE_KEY_ID];
        uint64_t until; /* ms of the clock given; of the one in force 0: no end */
    } at[KEYS_HELD_MAX];
};

/* Puts `key` (taken over, also on failure) in force at `now`; the one before stays for KEYS_KEPT_MS. The same key again changes nothing. */
MUST_CHECK bool keys_put(struct keys_held *held, EVP_PKEY *key, uint64_t now, struct err *e);
/* Frees those whose time is over. */
void keys_expire(struct keys_held *held, uint64_t now);
void keys_free(struct keys_held *held);

/*
 * Pure: one private operation for the bytes of a SIGN message; appends the body of the SIGNED message to `answer`. ERR_DENIED: the key it names is
 * none of those held; ERR_INPUT: what is to be signed is no TLS signature's.
 */
MUST_CHECK bool keys_answer(const struct keys_held *held, struct slice request, struct buf *answer, struct err *e);

/* True when a block of the modulus's size may be what a TLS signature signs (EMSA-PKCS1-v1_5 or EMSA-PSS, RFC 8017 9): the keys role signs no other. Pure. */
bool remote_key_is_signature_block(struct slice block);

#endif
