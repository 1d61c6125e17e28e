/* With which certificates and keys a lot is sealed and stamped: seal and stamp have read the same configuration, or both go on with what was before. See sealing_internal.h. */
#include "sealer/sealing_internal.h"

static bool is_set(const uint8_t mark[MESSAGE_MARK])
{
    static const uint8_t none[MESSAGE_MARK];

    return memcmp(mark, none, MESSAGE_MARK) != 0;
}

static bool ask_stand(struct sealing *s, struct sibling *who, uint64_t lot, const uint8_t *take, struct message_stands *said, struct err *e)
{
    struct message_stand question = {.lot = lot};
    struct slice answer;
    struct buf b;
    bool ok;

    if (take != NULL)
        memcpy(question.take, take, sizeof question.take);
    buf_init(&b, 64);
    ok = message_put_stand(&b, &question, e) && sealing_ask(s, who, MESSAGE_STAND, MESSAGE_STANDS, &b, lot, &answer, e) && message_get_stands(answer, said, e);
    buf_free(&b);
    return ok;
}

static bool take(struct sealing *s, struct sibling *who, uint64_t lot, const uint8_t chosen[MESSAGE_MARK], struct message_stands *said, struct err *e)
{
    if (memcmp(said->now, chosen, MESSAGE_MARK) == 0)
        return true;
    return ask_stand(s, who, lot, chosen, said, e) &&
           (memcmp(said->now, chosen, MESSAGE_MARK) == 0 || err_set(e, ERR_RETRY, "%s has not taken the certificates that were agreed", who->kind));
}

bool sealing_agree(struct sealing *s, uint64_t lot, struct err *e)
{
    struct message_stands seal, stamp;
    uint8_t chosen[MESSAGE_MARK];

    if (!ask_stand(s, &s->seal, lot, NULL, &seal, e) || !ask_stand(s, &s->stamp, lot, NULL, &stamp, e))
        return false;
    if (!sealing_choose(&seal, &stamp, chosen))
        return err_set(e, ERR_RETRY, "seal and stamp have no configuration of certificates in common%s", !is_set(seal.now) || !is_set(stamp.now) ? ": one of them has none that it can use" : "");
    return take(s, &s->seal, lot, chosen, &seal, e) && take(s, &s->stamp, lot, chosen, &stamp, e);
}
