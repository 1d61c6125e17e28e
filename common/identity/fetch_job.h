/* One request of the fetch role to somebody's HTTP server, through libcurl: set up, sent on by redirections as far as redirect.h lets it, ended. What comes back is a stranger's. */
#ifndef COFFRE_IDENTITY_FETCH_JOB_H
#define COFFRE_IDENTITY_FETCH_JOB_H

#include <curl/curl.h>

#include "common/identity/identity.h"
#include "common/identity/redirect.h"

enum { FETCH_WHY_MAX = CURL_ERROR_SIZE + 300 };

/* Waiting, or with `easy` running. Limits hold for all of it, every redirection included. */
struct fetch_job {
    struct fetch_job *next;
    uint32_t request;
    char *url, *type; /* owned; `url` is where it is now; `type` "": it only gets */
    struct buf question, answer;
    uint64_t most, timeout;
    uint64_t taken;   /* bytes received, of all answers */
    int64_t begun;    /* ms, monotonic: when it was asked for; waiting counts */
    CURL *easy;
    struct curl_slist *headers;
    unsigned hops;    /* redirections followed */
    enum redirect_place from; /* who sent it to where it is */
    bool too_large;
    char barred[64];  /* the address that it was sent to and may not be; "": none */
    char error[CURL_ERROR_SIZE];
};

enum fetch_end {
    FETCH_ANSWERED, /* `answer`, with an HTTP status */
    FETCH_FAILED,   /* why is said */
    FETCH_ON,       /* sent on: begin it again */
};

/* Copies what was asked. ms, monotonic. */
struct fetch_job *fetch_job_new(const struct identity_fetch *asked, int64_t now);
void fetch_job_free(struct fetch_job *j); /* not one that runs */

/* Makes `easy` ready for `url`. False: `*why` says why. */
MUST_CHECK bool fetch_job_begin(struct fetch_job *j, int64_t now, const char **why);

/* What became of it. `status` is HTTP's when answered, `why` is always set but when it is sent on. */
enum fetch_end fetch_job_end(struct fetch_job *j, CURLcode result, unsigned *status, char why[FETCH_WHY_MAX]);

#endif
