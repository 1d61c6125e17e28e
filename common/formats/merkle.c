/* See merkle.h. */
#include "common/formats/merkle.h"

#include <stdlib.h>

#include "common/formats/digest.h"

void merkle_init(struct merkle *m)
{
    memset(m, 0, sizeof(*m));
    m->sha256 = EVP_MD_CTX_new();
    m->failed = m->sha256 == NULL || EVP_DigestInit_ex(m->sha256, EVP_sha256(), NULL) != 1;
}

void merkle_reset(struct merkle *m)
{
    m->count = 0;
}

void merkle_free(struct merkle *m)
{
    EVP_MD_CTX_free(m->sha256);
    m->sha256 = NULL;
    m->failed = true;
}

/* SHA-256 of `prefix`, `a`, `b`; `out` may be one of them. */
static bool merkle_hash(EVP_MD_CTX *ctx, uint8_t prefix, struct slice a, struct slice b, uint8_t out[MERKLE_HASH])
{
    return EVP_DigestInit_ex(ctx, NULL, NULL) == 1 && EVP_DigestUpdate(ctx, &prefix, 1) == 1 &&
           EVP_DigestUpdate(ctx, a.at, a.len) == 1 && EVP_DigestUpdate(ctx, b.at, b.len) == 1 &&
           EVP_DigestFinal_ex(ctx, out, NULL) == 1;
}

/* RFC 9162 2.1.1: SHA-256(0x01 ‖ left ‖ right). */
static bool merkle_join(EVP_MD_CTX *ctx, const uint8_t *left, const uint8_t *right, uint8_t out[MERKLE_HASH])
{
    return merkle_hash(ctx, 1, slice_of(left, MERKLE_HASH), slice_of(right, MERKLE_HASH), out);
}

/* nodes[k] is the root of 2^k leaves and is there when bit k of count is set: adding is binary carry. */
void merkle_add(struct merkle *m, struct slice leaf)
{
    uint8_t node[MERKLE_HASH];
    unsigned k = 0;

    if (m->failed || m->count == UINT64_MAX || !merkle_hash(m->sha256, 0, leaf, slice_of(NULL, 0), node)) {
        m->failed = true;
        return;
    }
    for (; (m->count >> k & 1) != 0; k++)
        m->failed |= !merkle_join(m->sha256, m->nodes[k], node, node);
    memcpy(m->nodes[k], node, MERKLE_HASH);
    m->count++;
}

bool merkle_root(const struct merkle *m, uint8_t root[MERKLE_HASH], struct err *e)
{
    bool ok = !m->failed, have = false;

    if (ok && m->count == 0)
        return digest_sha256(slice_of(NULL, 0), root, e);
    for (unsigned k = 0; ok && k < MERKLE_DEPTH; k++) {
        if ((m->count >> k & 1) == 0)
            continue;
        if (have)
            ok = merkle_join(m->sha256, m->nodes[k], root, root);
        else
            memcpy(root, m->nodes[k], MERKLE_HASH);
        have = true;
    }
    return ok || err_set_openssl(e, ERR_FATAL, "merkle: SHA-256");
}

/* Largest power of two smaller than n (n >= 2): where RFC 9162 splits a list. */
static uint64_t merkle_split(uint64_t n)
{
    uint64_t k = 1;

    while (k < n - k)
        k <<= 1;
    return k;
}

void merkle_prover_init(struct merkle_prover *p, uint64_t index, uint64_t size)
{
    uint64_t from = 0, to = size;

    memset(p, 0, sizeof(*p));
    merkle_init(&p->part);
    p->index = index;
    p->size = size;
    /* From the root down: the sibling of the half that holds the leaf is one subtree of the path. */
    while (to - from > 1 && p->count < MERKLE_DEPTH) {
        uint64_t middle = from + merkle_split(to - from);

        if (index < middle) {
            p->range[p->count].from = middle;
            p->range[p->count].to = to;
            to = middle;
        } else {
            p->range[p->count].from = from;
            p->range[p->count].to = middle;
            from = middle;
        }
        p->slot[p->count] = p->count;
        p->count++;
    }
    for (unsigned i = 0; i < p->count; i++)
        p->slot[i] = p->count - 1 - i; /* the path goes from leaf to root */
}

void merkle_prover_add(struct merkle_prover *p, struct slice leaf)
{
    uint64_t at = p->next++;

    for (unsigned i = 0; i < p->count; i++) {
        if (at < p->range[i].from || at >= p->range[i].to)
            continue;
        merkle_add(&p->part, leaf);
        if (at + 1 == p->range[i].to) {
            if (merkle_root(&p->part, p->path[p->slot[i]], NULL))
                p->done++;
            merkle_reset(&p->part);
        }
        return;
    }
}

void merkle_prover_free(struct merkle_prover *p)
{
    merkle_free(&p->part);
}

bool merkle_prover_path(const struct merkle_prover *p, const uint8_t (**path)[MERKLE_HASH], size_t *len, struct err *e)
{
    if (p->next != p->size)
        return err_set(e, ERR_INPUT, "merkle: the list does not have the size the proof is for");
    if (p->part.failed || p->done != p->count)
        return err_set(e, ERR_FATAL, "merkle: SHA-256");
    *path = (const uint8_t(*)[MERKLE_HASH])p->path;
    *len = p->count;
    return true;
}

bool merkle_check(struct slice leaf, uint64_t index, uint64_t size, const uint8_t (*path)[MERKLE_HASH], size_t len,
                  const uint8_t root[MERKLE_HASH])
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    uint8_t node[MERKLE_HASH];
    uint64_t fn = index, sn = size - 1; /* the names of RFC 9162 2.1.3.2 */
    bool ok = ctx != NULL && index < size && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1 &&
              merkle_hash(ctx, 0, leaf, slice_of(NULL, 0), node);

    for (size_t i = 0; ok && i < len; i++) {
        if (sn == 0) {
            ok = false;
        } else if ((fn & 1) != 0 || fn == sn) {
            ok = merkle_join(ctx, path[i], node, node);
            while ((fn & 1) == 0 && fn != 0) {
                fn >>= 1;
                sn >>= 1;
            }
        } else {
            ok = merkle_join(ctx, node, path[i], node);
        }
        fn >>= 1;
        sn >>= 1;
    }
    EVP_MD_CTX_free(ctx);
    return ok && sn == 0 && memcmp(node, root, MERKLE_HASH) == 0;
}
