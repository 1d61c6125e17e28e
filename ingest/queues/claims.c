/* Which connection has which ConnectionId: see claims.h. */
#include "ingest/queues/claims.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "common/values/buf.h"

struct claim {
    struct claims_key key;
    struct claims_holder holder;
};

bool claims_key_make(uint32_t depositor, struct slice subject, struct slice name, struct claims_key *key)
{
    uint8_t head[6] = {(uint8_t)(depositor >> 24), (uint8_t)(depositor >> 16), (uint8_t)(depositor >> 8), (uint8_t)depositor,
                       (uint8_t)(subject.len >> 8), (uint8_t)subject.len};
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx != NULL && EVP_DigestInit_ex2(ctx, EVP_sha256(), NULL) == 1 && EVP_DigestUpdate(ctx, head, sizeof head) == 1 &&
              EVP_DigestUpdate(ctx, subject.at, subject.len) == 1 && EVP_DigestUpdate(ctx, name.at, name.len) == 1 &&
              EVP_DigestFinal_ex(ctx, key->digest, NULL) == 1;

    EVP_MD_CTX_free(ctx);
    return ok;
}

/* Digests are spread as they are. */
static uint64_t short_key(const struct claims_key *key)
{
    uint64_t n;

    memcpy(&n, key->digest, sizeof n);
    return n;
}

static void drop(struct claims *c, struct claim *claim)
{
    (void)map_take(&c->by_name, short_key(&claim->key));
    (void)map_take(&c->by_connection[claim->holder.front], claim->holder.connection);
    c->count--;
    free(claim);
}

void claims_leave(struct claims *c, struct claims_holder holder)
{
    struct claim *claim = map_get(&c->by_connection[holder.front], holder.connection);

    if (claim != NULL)
        drop(c, claim);
}

enum claims_result claims_take(struct claims *c, struct claims_holder holder, const struct claims_key *key, struct claims_holder *loser)
{
    struct claim *claim = map_get(&c->by_name, short_key(key));
    enum claims_result result = CLAIMS_NEW;

    /* Eight equal bytes of two different digests: nobody will see it; the first one keeps its place. */
    if (claim != NULL && memcmp(claim->key.digest, key->digest, sizeof key->digest) != 0)
        return CLAIMS_FULL;
    if (claim != NULL && claim->holder.front == holder.front && claim->holder.connection == holder.connection)
        return CLAIMS_NEW;
    if (claim != NULL) {
        *loser = claim->holder;
        drop(c, claim);
        result = CLAIMS_TAKEN;
    }
    claims_leave(c, holder);
    if (c->count >= (c->max == 0 ? CLAIMS_MAX : c->max))
        return CLAIMS_FULL;
    claim = mem_alloc(sizeof *claim);
    *claim = (struct claim){*key, holder};
    (void)map_put(&c->by_name, short_key(key), claim);
    (void)map_put(&c->by_connection[holder.front], holder.connection, claim);
    c->count++;
    return result;
}

void claims_front_gone(struct claims *c, uint32_t front)
{
    struct claim *claim;

    for (size_t place = 0; (claim = map_next(&c->by_connection[front], &place)) != NULL;) {
        (void)map_take(&c->by_name, short_key(&claim->key));
        c->count--;
        free(claim);
    }
    map_free(&c->by_connection[front]);
}

void claims_free(struct claims *c)
{
    for (uint32_t front = 0; front < CLAIMS_FRONTS_MAX; front++)
        claims_front_gone(c, front);
    map_free(&c->by_name);
}
