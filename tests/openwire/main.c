/*
 * coffre-test-openwire: reads captured sessions with production's decoders, to the last byte of every frame, and says "ok - " or
 * "not ok - " for each file. Loose frames are written again, which must give the same bytes; tight ones are read by the same rows
 * and must survive being written loosely and read again. With --show: what was read; with --corpus DIR: starting points for fuzzing.
 * With --samples: frames of every type in every version, every field filled, for other programs to read.
 */
#include <getopt.h>
#include <stdlib.h>

#include "ingest/openwire/preamble.h"
#include "ingest/openwire/properties.h"
#include "ingest/stomp/stomp.h"
#include "tests/openwire/capture.h"
#include "tests/openwire/corpus.h"
#include "tests/openwire/equal.h"
#include "tests/openwire/sample.h"
#include "tests/openwire/show.h"
#include "tests/openwire/tight.h"

enum { CONNECTIONS = 16, FRAME_MAX = 16 * 1024 * 1024 };

struct connection {
    unsigned infos; /* WireFormatInfos seen: two make an agreement */
    bool tight, cache, stack_traces;
    unsigned version;
    struct tight sides[CAPTURE_SIDES];
    struct stomp_parser parsers[CAPTURE_SIDES];
};

struct session {
    const char *corpus; /* folder, or NULL */
    bool show;
    struct connection connections[CONNECTIONS];
    unsigned frames;
    bool any_tight;
    unsigned version;
    struct buf again;
    struct err e;
};

/* A boolean of a WireFormatInfo; missing means false. */
static bool property(struct slice map, const char *name)
{
    struct openwire_property p;
    struct openwire_map m;
    struct err e = {0};
    bool is = false;

    if (openwire_map_open(&m, map, OPENWIRE_PREAMBLE_PROPERTIES, &e))
        while (openwire_map_next(&m, &p, &e))
            if (slice_is(p.name, name))
                is = p.number != 0;
    return is;
}

/* Both sides' WireFormatInfos, as each side works it out; production's own reader has its say too. */
static bool negotiate(struct session *s, struct connection *c, struct slice frame, const struct openwire_object *info)
{
    static const struct openwire_format ours = {12, 10485760, 30000, 10000};
    struct slice map = openwire_get_bytes(info, OPENWIRE_WIRE_FORMAT_INFO_PROPERTIES);
    unsigned version = (unsigned)openwire_get_number(info, OPENWIRE_WIRE_FORMAT_INFO_VERSION);
    struct openwire_format agreed;

    if (!openwire_preamble_read(frame, &ours, &agreed, &s->e))
        return false;
    if (agreed.version != version || agreed.inactivity > 30000 || agreed.inactivity_delay > 10000 || agreed.max_frame != 10485760)
        return err_set(&s->e, ERR_INPUT, "the preamble's values are read wrongly");
    if (c->infos++ == 0)
        *c = (struct connection){.infos = 1, .tight = true, .cache = true, .stack_traces = true, .version = version};
    c->tight = c->tight && property(map, "TightEncodingEnabled");
    c->cache = c->cache && property(map, "CacheEnabled");
    c->stack_traces = c->stack_traces && property(map, "StackTraceEnabled");
    c->version = version < c->version ? version : c->version;
    s->any_tight = s->any_tight || (c->infos == 2 && c->tight);
    s->version = c->version;
    for (int i = 0; i < CAPTURE_SIDES; i++)
        c->sides[i] = (struct tight){.version = c->version, .cache = c->cache, .stack_traces = c->stack_traces};
    return true;
}

/* A loose frame: read, written, the same bytes. */
static bool check_loose(struct session *s, unsigned version, struct slice whole, const struct openwire_object **o)
{
    static struct openwire_arena arena;

    buf_reset(&s->again);
    if (!openwire_read(slice_of(whole.at + 4, whole.len - 4), version, &arena, o, &s->e) ||
        !openwire_write(*o, version, &s->again, &s->e))
        return false;
    if (slice_equal(buf_slice(&s->again), whole))
        return true;
    return err_set(&s->e, ERR_INPUT, "%s is written differently", openwire_row((*o)->type)->name);
}

/* A tight frame: the same values when written loosely and read again by production. */
static bool check_tight(struct session *s, struct tight *t, struct slice whole, const struct openwire_object **o)
{
    static struct openwire_arena arena;
    const struct openwire_object *again;
    char where[80];

    buf_reset(&s->again);
    if (!tight_read(t, slice_of(whole.at + 4, whole.len - 4), o, &s->e) || !openwire_write(*o, t->version, &s->again, &s->e) ||
        !openwire_read(slice_of(buf_slice(&s->again).at + 4, s->again.len - 4), t->version, &arena, &again, &s->e))
        return false;
    return openwire_equal(*o, again, where) || err_set(&s->e, ERR_INPUT, "%s is another value after loose encoding", where);
}

static void show_head(const struct session *s, unsigned connection, unsigned side, const struct openwire_object *o, size_t size)
{
    printf("[%u] conn%u %s %s type=%u size=%zu\n", s->frames, connection, side == CAPTURE_CLIENT ? "client->broker" : "broker->client",
           openwire_row(o->type)->name, o->type, size);
    show_object(stdout, o);
    putchar('\n');
}

static bool take_whole(struct session *s, unsigned connection, unsigned side, struct slice whole)
{
    struct connection *c = &s->connections[connection];
    const struct openwire_object *o;
    bool info = whole.at[4] == OPENWIRE_WIRE_FORMAT_INFO;

    if (!info && c->infos != 2)
        return err_set(&s->e, ERR_INPUT, "a frame before both WireFormatInfos");
    if (!info && c->tight ? !check_tight(s, &c->sides[side], whole, &o) : !check_loose(s, info ? 1 : c->version, whole, &o))
        return false;
    if (info && !negotiate(s, c, slice_of(whole.at + 4, whole.len - 4), o))
        return false;
    s->frames++;
    if (s->show)
        show_head(s, connection, side, o, whole.len - 4);
    return s->corpus == NULL || corpus_keep(s->corpus, o, info ? 1 : c->version,
                                            slice_of(buf_slice(&s->again).at + 4, s->again.len - 4), &s->e);
}

static long take_openwire(void *state, unsigned connection, unsigned side, struct slice in)
{
    struct session *s = state;
    size_t size;

    if (in.len < 4)
        return 0;
    size = (size_t)in.at[0] << 24 | (size_t)in.at[1] << 16 | (size_t)in.at[2] << 8 | in.at[3];
    if (size == 0 || size > FRAME_MAX) {
        err_set(&s->e, ERR_INPUT, "a frame of %zu bytes", size);
        return -1;
    }
    if (in.len - 4 < size)
        return 0;
    return take_whole(s, connection, side, slice_of(in.at, size + 4)) ? (long)size + 4 : -1;
}

static const struct stomp_limits stomp_limits = {.headers = 64, .header_bytes = 8192, .body_bytes = 1024 * 1024};

/* The version is the one that CONNECTED says. */
static void stomp_agree(struct connection *c, const struct stomp_frame *f)
{
    for (int v = STOMP_1_0; v <= STOMP_1_2; v++)
        if (slice_is(stomp_get(f, STOMP_VERSION), stomp_version_text((enum stomp_version)v)))
            c->parsers[0].version = c->parsers[1].version = (enum stomp_version)v;
}

static long take_stomp(void *state, unsigned connection, unsigned side, struct slice in)
{
    struct session *s = state;
    struct connection *c = &s->connections[connection];
    struct stomp_frame f;
    size_t consumed;

    if (c->infos++ == 0)
        for (int i = 0; i < CAPTURE_SIDES; i++)
            stomp_parser_init(&c->parsers[i], i == CAPTURE_SERVER, &stomp_limits);
    switch (stomp_parse(&c->parsers[side], in, &consumed, &f, &s->e)) {
    case STOMP_BAD:
        return -1;
    case STOMP_MORE:
        break;
    case STOMP_FRAME:
        s->frames++;
        if (f.command == STOMP_CONNECTED)
            stomp_agree(c, &f);
        break;
    }
    return (long)consumed;
}

static void session_free(struct session *s)
{
    for (int i = 0; i < CONNECTIONS; i++)
        for (int k = 0; k < CAPTURE_SIDES; k++) {
            tight_free(&s->connections[i].sides[k]);
            stomp_parser_free(&s->connections[i].parsers[k]);
        }
    buf_free(&s->again);
    free(s);
}

static void verdict(const char *name, const struct session *s, const struct capture *c, bool stomp)
{
    unsigned never_sent = 0;

    printf("ok - %s: %u frames on %u connections, %zu bytes, all read", name, s->frames, c->connections, c->bytes - c->unfinished);
    if (!stomp && s->any_tight)
        printf(" (version %u, tight, cached; the same values after loose encoding)", s->version);
    else if (!stomp)
        printf(" (version %u, loose) and written the same", s->version);
    for (int i = 0; i < CONNECTIONS; i++)
        never_sent += s->connections[i].sides[0].never_sent + s->connections[i].sides[1].never_sent;
    if (never_sent != 0)
        printf("; %u references to what was put in the cache with a frame never sent", never_sent);
    if (c->unfinished != 0)
        printf("; the last %zu bytes are of frames that were cut", c->unfinished);
    putchar('\n');
}

static bool run_file(const char *path, const char *corpus, bool show)
{
    struct session *s = mem_zalloc(1, sizeof *s);
    const char *name = strrchr(path, '/') == NULL ? path : strrchr(path, '/') + 1;
    bool stomp = strncmp(name, "stomp", 5) == 0, ok;
    struct err e = {0};
    struct capture c;
    FILE *file = fopen(path, "re");

    s->corpus = corpus;
    s->show = show;
    buf_init(&s->again, FRAME_MAX + 4);
    ok = file != NULL ? capture_run(file, stomp ? take_stomp : take_openwire, s, &c, &e) : err_set_errno(&e, ERR_FATAL, "%s", path);
    if (ok && s->frames == 0)
        ok = err_set(&e, ERR_INPUT, "no frame in it");
    if (ok && c.unfinished != 0 && c.cut == 0)
        ok = err_set(&e, ERR_INPUT, "%zu bytes of no whole frame, though nothing was cut", c.unfinished);
    if (!ok)
        printf("not ok - %s: after %u frames: %s: %s\n", name, s->frames, e.text, s->e.text);
    else if (!show)
        verdict(name, s, &c, stomp);
    if (file != NULL)
        fclose(file);
    session_free(s);
    return ok;
}

/* A line for each: type, version, frame. Producers' windows came with version 3, pulling with 2. */
static bool print_samples(void)
{
    struct err e = {0};
    struct buf out;

    buf_init(&out, FRAME_MAX);
    for (unsigned type = 1; type < OPENWIRE_THROWABLE; type++)
        for (unsigned version = 1; openwire_row(type)->name != NULL && version <= OPENWIRE_VERSION_MAX; version++) {
            if (version < (type == OPENWIRE_PRODUCER_ACK ? 3 : type == OPENWIRE_MESSAGE_PULL ? 2 : 1))
                continue;
            buf_reset(&out);
            if (!openwire_write(sample_full(type), version, &out, &e)) {
                fprintf(stderr, "%s\n", e.text);
                buf_free(&out);
                return false;
            }
            printf("%s %u ", openwire_row(type)->name, version);
            for (size_t i = 0; i < out.len; i++)
                printf("%02x", buf_slice(&out).at[i]);
            putchar('\n');
        }
    buf_free(&out);
    return true;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"corpus", required_argument, NULL, 'c'}, {"show", no_argument, NULL, 's'},
                                            {"samples", no_argument, NULL, 'f'}, {0}};
    const char *corpus = NULL;
    bool show = false, ok = true;
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'c')
            corpus = optarg;
        else if (option == 's')
            show = true;
        else if (option == 'f')
            return print_samples() ? 0 : 1;
        else
            return 2;
    }
    if (optind == argc) {
        fputs("usage: coffre-test-openwire [--samples] [--show] [--corpus DIR] FILE...\n", stderr);
        return 2;
    }
    for (int i = optind; i < argc; i++)
        ok = run_file(argv[i], corpus, show) && ok;
    return ok ? 0 : 1;
}
