/* WireFormatInfo: see preamble.h. */
#include "ingest/openwire/preamble.h"

#include "ingest/openwire/openwire_internal.h"
#include "ingest/openwire/properties.h"

enum {
    SIZE_BYTES = 4,
    FRAME_MIN = 1 + OPENWIRE_MAGIC + 4 + 1, /* type, magic, version, no properties */
    PROPERTIES_MAX = 1024,                  /* bytes of those we write */
};

static const char magic[] = "ActiveMQ";

static enum openwire_opening detect_size(struct slice in)
{
    uint8_t bytes[SIZE_BYTES] = {0};
    uint32_t size;

    /* A size within the limit is 0 in its first two bytes: no text, no TLS begins like that. */
    memcpy(bytes, in.at, in.len < SIZE_BYTES ? in.len : SIZE_BYTES);
    size = openwire_load_32(bytes);
    if (size > OPENWIRE_PREAMBLE_MAX || (in.len >= SIZE_BYTES && size < FRAME_MIN))
        return OPENWIRE_OPENING_NO;
    return OPENWIRE_OPENING_MORE;
}

enum openwire_opening openwire_detect(struct slice in)
{
    size_t after = in.len > SIZE_BYTES + 1 ? in.len - SIZE_BYTES - 1 : 0;

    if (in.len == 0)
        return OPENWIRE_OPENING_MORE;
    if (detect_size(in) == OPENWIRE_OPENING_NO || (in.len > SIZE_BYTES && in.at[SIZE_BYTES] != OPENWIRE_WIRE_FORMAT_INFO))
        return OPENWIRE_OPENING_NO;
    if (after != 0 && memcmp(in.at + SIZE_BYTES + 1, magic, after < OPENWIRE_MAGIC ? after : OPENWIRE_MAGIC) != 0)
        return OPENWIRE_OPENING_NO;
    return after >= OPENWIRE_MAGIC ? OPENWIRE_OPENING_YES : OPENWIRE_OPENING_MORE;
}

static bool is_number(const struct openwire_property *p)
{
    return p->tag >= OPENWIRE_TAG_BYTE && p->tag <= OPENWIRE_TAG_LONG && p->tag != OPENWIRE_TAG_CHAR;
}

/* One property of the peer's; names that mean nothing here are passed over. */
static bool take_property(const struct openwire_property *p, struct openwire_format *theirs, struct err *e)
{
    uint64_t *number = NULL;

    if (p->tag == OPENWIRE_TAG_MAP || p->tag == OPENWIRE_TAG_LIST || p->bytes.len > OPENWIRE_PREAMBLE_VALUE)
        return err_set(e, ERR_INPUT, "OpenWire WireFormatInfo: a property of type %u and %zu bytes", (unsigned)p->tag, p->bytes.len);
    if (slice_is(p->name, "MaxFrameSize"))
        number = &theirs->max_frame;
    else if (slice_is(p->name, "MaxInactivityDuration"))
        number = &theirs->inactivity;
    else if (slice_is(p->name, "MaxInactivityDurationInitalDelay"))
        number = &theirs->inactivity_delay;
    if (number == NULL || p->tag == OPENWIRE_TAG_NULL)
        return true;
    if (!is_number(p))
        return err_set(e, ERR_INPUT, "OpenWire WireFormatInfo: %.*s is no number", SLICE_ARGS(p->name));
    *number = p->number < 0 ? 0 : (uint64_t)p->number;
    return true;
}

static bool read_properties(struct slice map, struct openwire_format *theirs, struct err *e)
{
    struct openwire_property p;
    struct err malformed = {0};
    struct openwire_map m;

    if (!openwire_map_open(&m, map, OPENWIRE_PREAMBLE_PROPERTIES, e))
        return false;
    while (openwire_map_next(&m, &p, &malformed))
        if (!take_property(&p, theirs, e))
            return false;
    return malformed.code == ERR_NONE || err_set(e, malformed.code, "%s", malformed.text);
}

static uint64_t lower(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

bool openwire_preamble_read(struct slice frame, const struct openwire_format *ours, struct openwire_format *agreed, struct err *e)
{
    struct openwire_format theirs = {0};
    const struct openwire_object *info;
    struct openwire_arena arena;
    int64_t version;

    if (frame.len > OPENWIRE_PREAMBLE_MAX)
        return err_set(e, ERR_INPUT, "OpenWire WireFormatInfo: %zu bytes, at most %d are taken", frame.len, OPENWIRE_PREAMBLE_MAX);
    if (!openwire_read(frame, 1, &arena, &info, e))
        return false;
    if (info->type != OPENWIRE_WIRE_FORMAT_INFO || !slice_is(openwire_get_bytes(info, OPENWIRE_WIRE_FORMAT_INFO_MAGIC), magic))
        return err_set(e, ERR_INPUT, "OpenWire: type %u where a WireFormatInfo with its magic is due", info->type);
    version = (int64_t)openwire_get_number(info, OPENWIRE_WIRE_FORMAT_INFO_VERSION);
    if (version < 1)
        return err_set(e, ERR_INPUT, "OpenWire WireFormatInfo: version %lld", (long long)version);
    if (!read_properties(openwire_get_bytes(info, OPENWIRE_WIRE_FORMAT_INFO_PROPERTIES), &theirs, e))
        return false;
    agreed->version = (unsigned)lower((uint64_t)version, ours->version);
    /* Clients before 5.6 name no frame size: taken as no limit. */
    agreed->max_frame = theirs.max_frame == 0 ? ours->max_frame : lower(theirs.max_frame, ours->max_frame);
    agreed->inactivity = lower(theirs.inactivity, ours->inactivity);
    agreed->inactivity_delay = lower(theirs.inactivity_delay, ours->inactivity_delay);
    return true;
}

/* Java casts each value to the type it expects: the types must be these. */
static bool write_properties(const struct openwire_format *ours, struct buf *out, struct err *e)
{
    struct openwire_map_writer w;

    openwire_map_begin(&w, out);
    openwire_map_put_bool(&w, "TightEncodingEnabled", false);
    openwire_map_put_bool(&w, "CacheEnabled", false);
    openwire_map_put_int(&w, "CacheSize", 0);
    openwire_map_put_bool(&w, "StackTraceEnabled", false);
    openwire_map_put_bool(&w, "SizePrefixDisabled", false);
    openwire_map_put_bool(&w, "TcpNoDelayEnabled", true);
    openwire_map_put_long(&w, "MaxFrameSize", (int64_t)lower(ours->max_frame, INT64_MAX));
    openwire_map_put_bool(&w, "MaxFrameSizeEnabled", true);
    openwire_map_put_long(&w, "MaxInactivityDuration", (int64_t)lower(ours->inactivity, INT64_MAX));
    openwire_map_put_long(&w, "MaxInactivityDurationInitalDelay", (int64_t)lower(ours->inactivity_delay, INT64_MAX));
    openwire_map_put_text(&w, "ProviderName", SLICE_LITERAL("Coffre"));
    return openwire_map_end(&w, e);
}

bool openwire_preamble_write(const struct openwire_format *ours, struct buf *out, struct err *e)
{
    struct openwire_value values[OPENWIRE_COUNT_WIRE_FORMAT_INFO] = {
        [OPENWIRE_WIRE_FORMAT_INFO_MAGIC] = openwire_bytes(slice_of(magic, OPENWIRE_MAGIC)),
        [OPENWIRE_WIRE_FORMAT_INFO_VERSION] = openwire_number(ours->version),
    };
    const struct openwire_object info = {.type = OPENWIRE_WIRE_FORMAT_INFO, .values = values};
    struct buf properties;
    bool ok;

    buf_init(&properties, PROPERTIES_MAX);
    ok = write_properties(ours, &properties, e);
    if (ok) {
        values[OPENWIRE_WIRE_FORMAT_INFO_PROPERTIES] = openwire_bytes(buf_slice(&properties));
        ok = openwire_write(&info, 1, out, e);
    }
    buf_free(&properties);
    return ok;
}
