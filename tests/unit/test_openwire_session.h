/* The parts of test_openwire_session: each runs its group and returns how many of it failed. */
#ifndef COFFRE_TESTS_OPENWIRE_SESSION_H
#define COFFRE_TESTS_OPENWIRE_SESSION_H

/* As exceptions begin that the vault throws. */
#define ILLEGAL "javax.jms.IllegalStateException: coffre: "
#define NO_PLACE "javax.jms.InvalidDestinationException: coffre: "
#define FORMAT "javax.jms.MessageFormatException: coffre: "
#define LATER "javax.jms.ResourceAllocationException: coffre: "
#define ROLLED_BACK "javax.jms.TransactionRolledBackException: coffre: "

int openwire_open_tests(void);         /* the preamble, what comes before ConnectionInfo, refusals */
int openwire_frames_tests(void);       /* frames, time, ends */
int openwire_produce_tests(void);      /* producers and their messages */
int openwire_transactions_tests(void); /* … in transactions */
int openwire_consume_tests(void);      /* consumers, pulls */
int openwire_acks_tests(void);         /* acknowledgements, removal */
int openwire_temporary_tests(void);    /* temporary queues */

#endif
