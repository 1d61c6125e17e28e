/* coffre-deposit: a sensor for the command line. See coffre-deposit.1. */
#include <signal.h>
#include <stdio.h>

#include "ingest/deposit/load.h"
#include "ingest/deposit/run.h"

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    (void)number;
    interrupted = interrupted + 1;
}

static void catch_signals(void)
{
    struct sigaction stop = {.sa_handler = on_signal}, ignore = {.sa_handler = SIG_IGN};

    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
}

int main(int argc, char **argv)
{
    struct options o;
    struct err e = {0};
    enum options_result result = options_read(&o, argc, argv, &e);
    enum exit_code end;
    SSL_CTX *tls;

    if (result == OPTIONS_DONE)
        return EXIT_ALL;
    if (result == OPTIONS_WRONG) {
        if (e.code != ERR_NONE)
            fprintf(stderr, "coffre-deposit: %s\n", e.text);
        fprintf(stderr, "coffre-deposit --help tells the options\n");
        return EXIT_USAGE;
    }
    tls = link_tls_context(o.certificate, o.key, o.authorities, &e);
    if (tls == NULL) {
        fprintf(stderr, "coffre-deposit: %s\n", e.text);
        return EXIT_CONNECTION;
    }
    catch_signals();
    end = o.load ? load_run(&o, tls, &interrupted) : run_deposit(&o, tls, &interrupted);
    SSL_CTX_free(tls);
    return (int)end;
}
