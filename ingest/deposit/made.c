/* Invented events for load: see made.h. */
#include "ingest/deposit/made.h"

#include <inttypes.h>

#include "ingest/deposit/adapt.h"

/* splitmix64: enough to vary text, nothing depends on its quality. */
static uint64_t next(struct made *m, uint64_t below)
{
    uint64_t z = (m->random += 0x9e3779b97f4a7c15u);

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (z ^ z >> 31) % below;
}

static const char *const words[] = {
    "rencontre", "manche", "tournoi", "match", "tirage", "grille", "cote", "combinaison", "journee", "finale", "course",
    "partie", "table", "jeton", "bonus", "offre", "retrait", "virement", "solde", "mise", "gain", "plafond", "mensuel",
    "hebdomadaire", "numero", "reference", "controle", "saison", "groupe", "quart", "demi", "classement", "libre", "mini",
};

static const char *const kinds[] = {"CPTEALIM", "CPTERETRAIT", "PASPMISE", "PASPGAIN", "LOJIMISE", "LOJIGAIN",
                                    "CPTEABOND", "ACHATMONNAIE"};

static bool put_header(struct made *m, const char *kind, struct buf *out, struct err *e)
{
    return buf_printf(out, e,
                      "<%s>\n  <IDOper>%s</IDOper>\n  <DateEvt>2601%02" PRIu64 "%02" PRIu64 "%02" PRIu64 "%02" PRIu64
                      "</DateEvt>\n  <IDEvt>" ADAPT_PLACEHOLDER "</IDEvt>\n  <IDJoueur>J%08" PRIu64
                      "</IDJoueur>\n  <HashJoueur>%016" PRIX64 "%016" PRIX64 "%08" PRIX64
                      "</HashJoueur>\n  <IDSession>S%012" PRIX64 "</IDSession>\n  <IPJoueur>198.51.100.%" PRIu64
                      "</IPJoueur>\n  <IDCoffre>%s</IDCoffre>\n",
                      kind, m->operator_number, 1 + next(m, 28), next(m, 24), next(m, 60), next(m, 60),
                      next(m, 100000000), next(m, UINT64_MAX), next(m, UINT64_MAX), next(m, UINT32_MAX),
                      next(m, 1ull << 48), 1 + next(m, 254), m->vault);
}

static bool put_money(struct made *m, struct buf *out, struct err *e)
{
    uint64_t before = next(m, 100000), moved = next(m, 5000), after = before + moved;

    return buf_printf(out, e,
                      "  <Tech>%08" PRIX64 "</Tech>\n  <SoldeAvant>%" PRIu64 ".%02" PRIu64
                      "</SoldeAvant>\n  <SoldeMouvement>%" PRIu64 ".%02" PRIu64 "</SoldeMouvement>\n  <SoldeApres>%" PRIu64
                      ".%02" PRIu64 "</SoldeApres>\n",
                      next(m, UINT32_MAX), before / 100, before % 100, moved / 100, moved % 100, after / 100, after % 100);
}

/* Words up to `len` bytes exactly. */
static bool put_words(struct made *m, size_t len, struct buf *out, struct err *e)
{
    while (len > 0) {
        const char *word = words[next(m, sizeof words / sizeof *words)];
        size_t n = strlen(word);

        if (n >= len)
            return buf_add(out, word, len < n ? len : n, e);
        if (!buf_add(out, word, n, e) || !buf_add(out, " ", 1, e))
            return false;
        len -= n + 1;
    }
    return true;
}

bool made_event(struct made *m, size_t size, struct buf *out, struct err *e)
{
    static const char open[] = "  <Info>", close[] = "</Info>\n";
    const char *kind = kinds[next(m, sizeof kinds / sizeof *kinds)];
    size_t began = out->len, used, tail = strlen(close) + strlen("</>") + strlen(kind);

    if (!put_header(m, kind, out, e) || !put_money(m, out, e) || !buf_add(out, open, strlen(open), e))
        return false;
    used = out->len - began + tail;
    if (used > size)
        return err_set(e, ERR_INPUT, "an event of %zu bytes is too small for its fields", size);
    return put_words(m, size - used, out, e) && buf_printf(out, e, "%s</%s>", close, kind);
}
