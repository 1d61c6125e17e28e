/* The parts of test_openwire_session: each runs its group and returns how many of it failed. */
#ifndef COFFRE_TESTS_OPENWIRE_SESSION_H
#define COFFRE_TESTS_OPENWIRE_SESSION_H

int openwire_produce_tests(void); /* producers, messages, transactions */
int openwire_consume_tests(void); /* consumers, acknowledgements, temporary queues */

#endif
