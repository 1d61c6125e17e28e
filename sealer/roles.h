/* The sealer's roles, one row each in main.c. */
#ifndef COFFRE_SEALER_ROLES_H
#define COFFRE_SEALER_ROLES_H

#include "common/system/role.h"

int work_run(struct role *self);
int seal_run(struct role *self);
int stamp_run(struct role *self);
int announce_run(struct role *self);

#endif
