/* What the parts of hsm.h share; nobody else includes it. */
#ifndef COFFRE_HSM_INTERNAL_H
#define COFFRE_HSM_INTERNAL_H

#include "common/system/hsm.h"

struct hsm_login;

/*
 * With the module loaded and initialised by libp11: logs this process in, on a session of its own, which stays open: libp11's sessions are
 * logged in with it (PKCS#11 v2.40 5.6: C_Login is of the application). NULL: ERR_DENIED, ERR_RETRY, ERR_INPUT (PIN file). Owned: hsm_log_out().
 */
struct hsm_login *hsm_log_in(const struct hsm_token *where, struct err *e);
void hsm_log_out(struct hsm_login *l);

#endif
