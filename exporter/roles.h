/* The roles of coffre-exporter: each returns its process's exit status. See main.c for who talks to whom. */
#ifndef COFFRE_EXPORTER_ROLES_H
#define COFFRE_EXPORTER_ROLES_H

#include "common/system/role.h"

int front_run(struct role *self); /* TLS and HTTP with strangers */
int query_run(struct role *self); /* PostgreSQL, as coffre_exporter */
int states_run(struct role *self); /* what the daemons of this host write for monitors */
int admin_run(struct role *self); /* PostgreSQL, as coffre_admin: role bindings */

#endif
