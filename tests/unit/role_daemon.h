/* The daemon of which tests of the shape of daemons are made: an asker that asks an answerer who it is, again and again, and a third kind, driven by libevent, that may keep dying. */
#ifndef COFFRE_TESTS_ROLE_DAEMON_H
#define COFFRE_TESTS_ROLE_DAEMON_H

#include "common/system/role.h"

/*
 * Files of its state folder tell it what to do:
 *   wrong, foreign   the asker finds something wrong, or another vault's, when it begins
 *   unlink, relink   the asker drops its channel to the answerer; it asks for another when it has none
 *   refuse           the asker takes no reload
 *   storm            the asker, poked (SIGUSR1), says more than it should; without this file, or the next three, it has the answerer killed, and says so 200 times
 *   chatter          the asker, poked, says that it is still there for as long as this file is
 *   boast            the asker, poked, has figures that fill more than is taken of one role
 *   babble           the asker, poked, has so many lines for the log: ROLE_DAEMON_BABBLE, code=babble
 *   babble too       so has the third kind, code=babble-too
 *   hang             the answerer hangs for ever, once
 *   block            checking a configuration does not end
 * Others are what it leaves, a line for each: "order" (who was asked to finish), "tried" (a beginning that found something wrong), "unfit" and "refused" (what the
 * answerer is told of others). With TEST_ROLE_DIES in its environment, the third kind keeps dying.
 */
extern const struct daemon role_daemon;

enum { ROLE_DAEMON_BABBLE = 1000 };

/* Set-up of a group of its tests: trial_make(), and the environment. */
int role_daemon_make(void **state);

#endif
