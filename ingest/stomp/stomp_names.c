/* Commands, header names and values of STOMP: tables and small readers shared by parser and encoder. */
#include "ingest/stomp/stomp_internal.h"

#define TEXT(t) {t, sizeof(t) - 1}

const struct stomp_word stomp_commands[STOMP_COMMANDS] = {
    [STOMP_CONNECT] = TEXT("CONNECT"),       [STOMP_STOMP] = TEXT("STOMP"),
    [STOMP_SEND] = TEXT("SEND"),             [STOMP_SUBSCRIBE] = TEXT("SUBSCRIBE"),
    [STOMP_UNSUBSCRIBE] = TEXT("UNSUBSCRIBE"), [STOMP_ACK] = TEXT("ACK"),
    [STOMP_NACK] = TEXT("NACK"),             [STOMP_BEGIN] = TEXT("BEGIN"),
    [STOMP_COMMIT] = TEXT("COMMIT"),         [STOMP_ABORT] = TEXT("ABORT"),
    [STOMP_DISCONNECT] = TEXT("DISCONNECT"), [STOMP_CONNECTED] = TEXT("CONNECTED"),
    [STOMP_MESSAGE] = TEXT("MESSAGE"),       [STOMP_RECEIPT] = TEXT("RECEIPT"),
    [STOMP_ERROR] = TEXT("ERROR"),
};

/* In the order of enum stomp_name, which is the order of their lengths: stomp_find_name() relies on it. */
const struct stomp_word stomp_names[STOMP_NAMES] = {
    [STOMP_ID] = TEXT("id"),
    [STOMP_ACK_HEADER] = TEXT("ack"),
    [STOMP_HOST] = TEXT("host"),
    [STOMP_LOGIN] = TEXT("login"),
    [STOMP_DIGEST] = TEXT("Digest"),
    [STOMP_SERVER] = TEXT("server"),
    [STOMP_MESSAGE_TEXT] = TEXT("message"),
    [STOMP_RECEIPT_HEADER] = TEXT("receipt"),
    [STOMP_SESSION] = TEXT("session"),
    [STOMP_VERSION] = TEXT("version"),
    [STOMP_CLIENT_ID] = TEXT("ClientId"),
    [STOMP_PASSCODE] = TEXT("passcode"),
    [STOMP_SELECTOR] = TEXT("selector"),
    [STOMP_REPLY_TO] = TEXT("reply-to"),
    [STOMP_CFJL_LOT_ID] = TEXT("CFJLLotId"),
    [STOMP_TIMESTAMP] = TEXT("Timestamp"),
    [STOMP_CFJL_ARCH_ID] = TEXT("CFJLArchId"),
    [STOMP_CFJL_DIGEST] = TEXT("CFJLDigest"),
    [STOMP_CFJL_REASON] = TEXT("CFJLReason"),
    [STOMP_CFJL_STATUS] = TEXT("CFJLStatus"),
    [STOMP_DIGEST_ALGO] = TEXT("DigestAlgo"),
    [STOMP_HEART_BEAT] = TEXT("heart-beat"),
    [STOMP_MESSAGE_ID] = TEXT("message-id"),
    [STOMP_RECEIPT_ID] = TEXT("receipt-id"),
    [STOMP_DESTINATION] = TEXT("destination"),
    [STOMP_REDELIVERED] = TEXT("redelivered"),
    [STOMP_TRANSACTION] = TEXT("transaction"),
    [STOMP_CFJL_ARCH_DATE] = TEXT("CFJLArchDate"),
    [STOMP_CONTENT_TYPE] = TEXT("content-type"),
    [STOMP_SUBSCRIPTION] = TEXT("subscription"),
    [STOMP_CFJL_SERIAL] = TEXT("CFJLJELSerial"),
    [STOMP_CFJL_DIGEST_ALGO] = TEXT("CFJLDigestAlgo"),
    [STOMP_CFJL_LAST_SERIAL] = TEXT("CFJLLastSerial"),
    [STOMP_ACCEPT_VERSION] = TEXT("accept-version"),
    [STOMP_CONTENT_LENGTH] = TEXT("content-length"),
    [STOMP_PREFETCH_COUNT] = TEXT("prefetch-count"),
    [STOMP_CFJL_FIRST_SERIAL] = TEXT("CFJLFirstSerial"),
    [STOMP_PREFETCH_SIZE] = TEXT("activemq.prefetchSize"),
};

/* The first name of each length; a length's names end where the next length's begin. */
static const uint8_t by_length[] = {
    [2] = STOMP_ID,
    [3] = STOMP_ACK_HEADER,
    [4] = STOMP_HOST,
    [5] = STOMP_LOGIN,
    [6] = STOMP_DIGEST,
    [7] = STOMP_MESSAGE_TEXT,
    [8] = STOMP_CLIENT_ID,
    [9] = STOMP_CFJL_LOT_ID,
    [10] = STOMP_CFJL_ARCH_ID,
    [11] = STOMP_DESTINATION,
    [12] = STOMP_CFJL_ARCH_DATE,
    [13] = STOMP_CFJL_SERIAL,
    [14] = STOMP_CFJL_DIGEST_ALGO,
    [15] = STOMP_CFJL_FIRST_SERIAL,
    [16] = STOMP_PREFETCH_SIZE, [17] = STOMP_PREFETCH_SIZE, [18] = STOMP_PREFETCH_SIZE,
    [19] = STOMP_PREFETCH_SIZE, [20] = STOMP_PREFETCH_SIZE, [21] = STOMP_PREFETCH_SIZE,
    [22] = STOMP_NAMES,
};

enum stomp_name stomp_find_name(const uint8_t *at, size_t len)
{
    if (len < 2 || len > 21)
        return STOMP_NAMES;
    /* The last byte tells most names of a length apart at once; for the others memcmp decides. */
    for (unsigned i = by_length[len]; i < by_length[len + 1]; i++)
        if (stomp_names[i].text[len - 1] == (char)at[len - 1] && memcmp(stomp_names[i].text, at, len) == 0)
            return (enum stomp_name)i;
    return STOMP_NAMES;
}

enum stomp_command stomp_find_command(const uint8_t *at, size_t len)
{
    for (unsigned i = 0; i < STOMP_COMMANDS; i++)
        if (stomp_commands[i].len == len && memcmp(stomp_commands[i].text, at, len) == 0)
            return (enum stomp_command)i;
    return STOMP_COMMANDS;
}

const char *stomp_command_text(enum stomp_command command)
{
    return command < STOMP_COMMANDS ? stomp_commands[command].text : "?";
}

const char *stomp_name_text(enum stomp_name name)
{
    return name < STOMP_NAMES ? stomp_names[name].text : "?";
}

const char *stomp_version_text(enum stomp_version version)
{
    static const char *const texts[] = {"?", "1.0", "1.1", "1.2"};

    return texts[version];
}

static struct slice trim(struct slice s)
{
    while (s.len != 0 && s.at[0] == ' ')
        s = slice_of(s.at + 1, s.len - 1);
    while (s.len != 0 && s.at[s.len - 1] == ' ')
        s.len--;
    return s;
}

bool stomp_heart_beat(struct slice value, uint64_t *sends, uint64_t *wants)
{
    const uint8_t *comma = value.len == 0 ? NULL : memchr(value.at, ',', value.len);
    size_t before;

    if (comma == NULL)
        return false;
    before = (size_t)(comma - value.at);
    return number_parse(trim(slice_of(value.at, before)), sends) &&
           number_parse(trim(slice_of(comma + 1, value.len - before - 1)), wants);
}
