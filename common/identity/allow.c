/* IP allow-lists: see allow.h. */
#include "common/identity/allow.h"

#include <arpa/inet.h>
#include <string.h>

#include "common/values/number.h"

enum { V4_BITS = 32, V6_BITS = 128, MAPPED_BITS = V6_BITS - V4_BITS };

static const uint8_t mapped[MAPPED_BITS / 8] = {[10] = 0xff, [11] = 0xff}; /* RFC 4291 2.5.5.2 */

/* The address in 16 octets; *v4 when it was written as IPv4. */
static bool read_address(const char *text, uint8_t out[16], bool *v4)
{
    memcpy(out, mapped, sizeof mapped);
    *v4 = inet_pton(AF_INET, text, out + sizeof mapped) == 1;
    return *v4 || inet_pton(AF_INET6, text, out) == 1;
}

/* Whether nothing is set behind the first `bits`. */
static bool ends_at(const uint8_t address[16], unsigned bits)
{
    for (unsigned i = bits; i < V6_BITS; i++)
        if ((address[i / 8] >> (7 - i % 8) & 1) != 0)
            return false;
    return true;
}

static bool read_network(struct allow_network *network, const char *text, struct err *e)
{
    char address[INET6_ADDRSTRLEN];
    const char *slash = strchr(text, '/');
    size_t len = slash == NULL ? strlen(text) : (size_t)(slash - text);
    uint64_t bits;
    unsigned most;
    bool v4;

    if (len >= sizeof address)
        return err_set(e, ERR_INPUT, "\"%.80s\" is not an address or network", text);
    memcpy(address, text, len);
    address[len] = '\0';
    if (!read_address(address, network->address, &v4))
        return err_set(e, ERR_INPUT, "\"%.80s\" is not an address or network", text);
    bits = most = v4 ? V4_BITS : V6_BITS;
    if (slash != NULL && (!number_parse(slice_text(slash + 1), &bits) || bits > most))
        return err_set(e, ERR_INPUT, "\"%.80s\": the prefix is not a number of bits from 0 to %u", text, most);
    network->bits = (unsigned)bits + (v4 ? MAPPED_BITS : 0);
    return ends_at(network->address, network->bits) ||
           err_set(e, ERR_INPUT, "\"%.80s\": bits are set behind the prefix (RFC 4632 3.1)", text);
}

bool allow_parse(struct allow_list *list, const struct settings_list *texts, struct err *e)
{
    struct allow_list fresh = {0};

    for (; fresh.count < texts->count && fresh.count < ALLOW_NETWORKS_MAX; fresh.count++)
        if (!read_network(&fresh.networks[fresh.count], texts->items[fresh.count], e))
            return false;
    *list = fresh;
    return true;
}

/* A network of IPv6 that is wider than all of IPv4 ("::/0") says nothing of IPv4. */
static bool holds(const struct allow_network *network, const uint8_t address[16])
{
    unsigned whole = network->bits / 8, left = network->bits % 8;

    if (network->bits < MAPPED_BITS && memcmp(address, mapped, sizeof mapped) == 0)
        return false;
    return memcmp(network->address, address, whole) == 0 &&
           (left == 0 || ((network->address[whole] ^ address[whole]) & 0xff << (8 - left) & 0xff) == 0);
}

bool allow_permits(const struct allow_list *list, const char *address)
{
    char plain[INET6_ADDRSTRLEN];
    size_t len = strcspn(address, "%"); /* a zone (RFC 4007 11) says on which link, not who */
    uint8_t octets[16];
    bool v4;

    if (list->count == 0)
        return true;
    if (len >= sizeof plain)
        return false;
    memcpy(plain, address, len);
    plain[len] = '\0';
    if (!read_address(plain, octets, &v4) || (v4 && address[len] != '\0'))
        return false;
    for (unsigned i = 0; i < list->count; i++)
        if (holds(&list->networks[i], octets))
            return true;
    return false;
}
