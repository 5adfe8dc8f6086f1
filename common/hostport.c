#include "common/hostport.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>

#include "common/text.h"

#define ADVERTISED_MAX 240u /* bytes, so that a port can be added */

/* An IPv6 address, perhaps with the link that it is meant on ("fe80::1%eth0"). */
static bool parse_six(const char *host, struct in6_addr *ret, const char **ret_zone)
{
    char text[INET6_ADDRSTRLEN];
    size_t size = strcspn(host, "%");
    if (size >= sizeof text || (host[size] == '%' && host[size + 1] == '\0')) {
        return false;
    }
    memcpy(text, host, size);
    text[size] = '\0';
    *ret_zone = host + size;
    return inet_pton(AF_INET6, text, ret) == 1;
}

static bool host_ok(const char *host, size_t size, bool brackets)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    static const char six[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:%";
    for (size_t i = 0; i < size; i++) {
        if (host[i] == '\0' || strchr(brackets ? six : letters, host[i]) == NULL) {
            return false;
        }
    }
    return size > 0 && size < HOSTPORT_HOST_SIZE;
}

/* "10.0.0.300" is a slip, and no name. */
static bool has_sense(const char *host, bool brackets)
{
    struct in_addr four;
    struct in6_addr six;
    const char *zone;
    if (brackets) {
        return parse_six(host, &six, &zone);
    }
    return host[strspn(host, "0123456789.")] != '\0' || inet_pton(AF_INET, host, &four) == 1;
}

int hostport_parse(const char *text, uint16_t default_port, char ret_host[HOSTPORT_HOST_SIZE],
                   uint16_t *ret_port)
{
    char copy[HOSTPORT_HOST_SIZE];
    bool brackets = text[0] == '[';
    const char *host = text + brackets;
    size_t size = strcspn(host, brackets ? "]" : ":");
    const char *rest = host + size;
    uint64_t port = default_port;
    if (!host_ok(host, size, brackets) || (brackets && *rest != ']')) {
        return -EINVAL;
    }
    memcpy(copy, host, size);
    copy[size] = '\0';
    rest += brackets;
    if (*rest == ':') {
        if (strlen(rest + 1) > 5 || text_parse_u64(rest + 1, UINT16_MAX, &port) != 0) {
            return -EINVAL;
        }
    } else if (*rest != '\0') {
        return -EINVAL;
    }
    if (port == 0 || !has_sense(copy, brackets)) {
        return -EINVAL;
    }
    memcpy(ret_host, copy, size + 1);
    *ret_port = (uint16_t)port;
    return 0;
}

void hostport_format(const char *host, uint16_t port, char ret[HOSTPORT_SIZE])
{
    bool brackets = strchr(host, ':') != NULL && host[0] != '[';
    snprintf(ret, HOSTPORT_SIZE, brackets ? "[%.255s]:%u" : "%.255s:%u", host, port);
}

int hostport_parse_bind(const char *text, char ret_host[HOSTPORT_HOST_SIZE])
{
    char host[HOSTPORT_HOST_SIZE];
    size_t size = strlen(text);
    bool brackets = size > 2 && text[0] == '[' && text[size - 1] == ']';
    if (size >= sizeof host) {
        return -EINVAL;
    }
    size -= brackets ? 2 : 0;
    memcpy(host, text + brackets, size);
    host[size] = '\0';
    if (!hostport_is_any(host) && !hostport_is_numeric(host)) {
        return -EINVAL;
    }
    memcpy(ret_host, host, size + 1);
    return 0;
}

bool hostport_is_any(const char *bind)
{
    return bind == NULL || *bind == '\0' || strcmp(bind, "*") == 0 ||
           strcmp(bind, "0.0.0.0") == 0 || strcmp(bind, "::") == 0;
}

int hostport_check_advertise(const char *text, struct failure *f)
{
    char host[HOSTPORT_HOST_SIZE], plain[HOSTPORT_HOST_SIZE], shown[128];
    uint16_t port;
    (void)text_copy(shown, sizeof shown, text);
    text_clean(shown);
    if (hostport_parse(text, 1, host, &port) != 0 || strlen(text) > ADVERTISED_MAX) {
        return failure_set(f, CODE_SIGNATURE,
                           "--advertise: \"%s\" is not an address. Give HOST or HOST:PORT, as in "
                           "10.0.0.5, box-2.example:7421 or [2001:db8::5]:7421.",
                           shown);
    }
    hostport_normalize(host, plain);
    if (hostport_is_any(plain)) {
        return failure_set(f, CODE_SIGNATURE,
                           "--advertise: %s stands for all addresses of a machine. Give the one at "
                           "which other machines reach this one.",
                           host);
    }
    return 0;
}

void hostport_normalize(const char *host, char ret[HOSTPORT_HOST_SIZE])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    struct in6_addr six;
    const char *zone;
    char text[HOSTPORT_HOST_SIZE];
    (void)text_copy(text, sizeof text, host);
    if (!parse_six(text, &six, &zone)) {
        for (size_t i = 0; text[i] != '\0'; i++) {
            text[i] = (char)tolower((unsigned char)text[i]);
        }
        memcpy(ret, text, sizeof text);
    } else if (memcmp(&six, mapped, sizeof mapped) == 0) {
        (void)inet_ntop(AF_INET, (const uint8_t *)&six + sizeof mapped, ret, HOSTPORT_HOST_SIZE);
    } else {
        (void)inet_ntop(AF_INET6, &six, ret, HOSTPORT_HOST_SIZE);
        size_t size = strlen(ret);
        (void)text_copy(ret + size, HOSTPORT_HOST_SIZE - size, zone);
    }
}

bool hostport_is_numeric(const char *host)
{
    struct in_addr four;
    struct in6_addr six;
    const char *zone;
    return inet_pton(AF_INET, host, &four) == 1 || parse_six(host, &six, &zone);
}

bool hostport_is_loopback(const char *host)
{
    char plain[HOSTPORT_HOST_SIZE];
    struct in_addr four;
    hostport_normalize(host, plain);
    return strcmp(plain, "::1") == 0 ||
           (inet_pton(AF_INET, plain, &four) == 1 && ntohl(four.s_addr) >> 24 == 127);
}

bool hostport_is_link_local(const char *host)
{
    struct in6_addr six;
    const char *zone;
    return parse_six(host, &six, &zone) && six.s6_addr[0] == 0xfe &&
           (six.s6_addr[1] & 0xc0) == 0x80;
}

bool hostport_same(const char *a, const char *b)
{
    char host_a[HOSTPORT_HOST_SIZE], host_b[HOSTPORT_HOST_SIZE];
    uint16_t port_a, port_b;
    if (strcmp(a, b) == 0) {
        return true;
    }
    if (hostport_parse(a, 0, host_a, &port_a) != 0 || hostport_parse(b, 0, host_b, &port_b) != 0 ||
        port_a != port_b) {
        return false;
    }
    hostport_normalize(host_a, host_a);
    hostport_normalize(host_b, host_b);
    return strcmp(host_a, host_b) == 0;
}
