/*
 * Rewrites the header fields of an event: operator, vault number, and the place where the
 * vault writes the serial. Only direct children of the root are touched (a poker hand names
 * other operators further down); every other byte stays as it is. Pure.
 */
#ifndef COFFRE_DEPOSIT_ADAPT_H
#define COFFRE_DEPOSIT_ADAPT_H

#include "common/values/buf.h"

#define ADAPT_PLACEHOLDER "<!--SAFE_ID-->"

struct adapt_rules {
    const char *operator_number; /* content of IDOper (short form a); NULL: as it is */
    const char *vault_number;    /* content of IDCoffre (short form b); NULL: as it is */
    bool placeholder;            /* content of IDEvt (short form d) becomes the placeholder */
};

/*
 * Appends the rewritten event to `out`. ERR_INPUT when a field to rewrite is missing. The event must
 * have come from split_next().
 */
MUST_CHECK bool adapt_event(struct slice event, const struct adapt_rules *rules, struct buf *out, struct err *e);

/* Does <IDEvt> or <d> hold exactly the placeholder? For a notice only: the vault decides. */
bool adapt_has_placeholder(struct slice event);

#endif
