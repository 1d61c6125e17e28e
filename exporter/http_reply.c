/* Answer heads: see http.h. Pure. */
#include "exporter/http.h"

static const struct {
    unsigned status;
    const char *phrase;
} phrases[] = {
    {100, "Continue"}, {200, "OK"}, {201, "Created"}, {202, "Accepted"}, {206, "Partial Content"}, {304, "Not Modified"},
    {400, "Bad Request"}, {401, "Unauthorized"}, {403, "Forbidden"}, {404, "Not Found"}, {405, "Method Not Allowed"},
    {406, "Not Acceptable"}, {408, "Request Timeout"}, {409, "Conflict"}, {411, "Length Required"},
    {412, "Precondition Failed"}, {413, "Content Too Large"}, {414, "URI Too Long"}, {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"}, {417, "Expectation Failed"}, {429, "Too Many Requests"}, {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"}, {501, "Not Implemented"}, {503, "Service Unavailable"},
    {505, "HTTP Version Not Supported"},
};

const char *http_phrase(unsigned status)
{
    for (size_t i = 0; i < sizeof phrases / sizeof *phrases; i++)
        if (phrases[i].status == status)
            return phrases[i].phrase;
    return "Unknown";
}

bool http_reply_begin(struct buf *out, unsigned status, time_t now, struct err *e)
{
    /* IMF-fixdate (RFC 9110 5.6.7) whatever the locale. */
    static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct tm t = {0};

    gmtime_r(&now, &t);
    return buf_printf(out, e, "HTTP/1.1 %u %s\r\nDate: %s, %02d %s %04d %02d:%02d:%02d GMT\r\n", status,
                      http_phrase(status), days[t.tm_wday], t.tm_mday, months[t.tm_mon], t.tm_year + 1900, t.tm_hour,
                      t.tm_min, t.tm_sec);
}

bool http_reply_field(struct buf *out, const char *name, const char *value, struct err *e)
{
    for (const char *c = value; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || (unsigned char)*c > 0x7e)
            return err_set(e, ERR_FATAL, "http: field %s would hold a control character", name);
    return buf_printf(out, e, "%s: %s\r\n", name, value);
}

bool http_reply_number(struct buf *out, const char *name, uint64_t value, struct err *e)
{
    return buf_printf(out, e, "%s: %llu\r\n", name, (unsigned long long)value);
}

bool http_reply_end(struct buf *out, struct err *e)
{
    return buf_add(out, "\r\n", 2, e);
}
