#include "head/address.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/files.h"
#include "common/text.h"

static bool format_host(const struct sockaddr *address, char ret[HOSTPORT_HOST_SIZE])
{
    socklen_t size =
        address->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    return getnameinfo(address, size, ret, HOSTPORT_HOST_SIZE, NULL, 0, NI_NUMERICHOST) == 0;
}

/* The kernel says from where it would send to `far`; nothing is sent. */
static bool find_route(const struct sockaddr *far, socklen_t far_size, char ret[HOSTPORT_HOST_SIZE])
{
    struct sockaddr_storage here;
    socklen_t size = sizeof here;
    CLEANUP_FD int fd = socket(far->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return fd >= 0 && connect(fd, far, far_size) == 0 &&
           getsockname(fd, (struct sockaddr *)&here, &size) == 0 &&
           format_host((struct sockaddr *)&here, ret) && !hostport_is_link_local(ret);
}

static bool default_route(char ret[HOSTPORT_HOST_SIZE])
{
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(9)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(9)};
    /* Addresses that nobody has (RFC 5737, RFC 3849). */
    return (inet_pton(AF_INET, "198.51.100.1", &four.sin_addr) == 1 &&
            find_route((struct sockaddr *)&four, sizeof four, ret)) ||
           (inet_pton(AF_INET6, "2001:db8::1", &six.sin6_addr) == 1 &&
            find_route((struct sockaddr *)&six, sizeof six, ret));
}

/* A network without a way out of it. */
static bool first_interface(char ret[HOSTPORT_HOST_SIZE])
{
    static const int families[] = {AF_INET, AF_INET6};
    struct ifaddrs *all = NULL;
    bool found = false;
    if (getifaddrs(&all) != 0) {
        return false;
    }
    for (size_t i = 0; i < ARRAY_SIZE(families) && !found; i++) {
        for (const struct ifaddrs *at = all; at != NULL && !found; at = at->ifa_next) {
            found = at->ifa_addr != NULL && at->ifa_addr->sa_family == families[i] &&
                    (at->ifa_flags & IFF_UP) != 0 && (at->ifa_flags & IFF_LOOPBACK) == 0 &&
                    format_host(at->ifa_addr, ret) && !hostport_is_link_local(ret);
        }
    }
    freeifaddrs(all);
    return found;
}

void address_choose(const char *bind, const char *advertise, uint16_t port, char ret[HOSTPORT_SIZE])
{
    char host[HOSTPORT_HOST_SIZE];
    if (advertise != NULL) {
        int r = hostport_parse(advertise, port, host, &port);
        ASSERT(r == 0); /* the command line is checked */
    } else if ((hostport_is_any(bind) || hostport_parse_bind(bind, host) != 0 ||
                hostport_is_any(host)) &&
               !default_route(host) && !first_interface(host)) {
        (void)text_copy(host, sizeof host, "127.0.0.1");
    }
    hostport_format(host, port, ret);
}

bool address_is_local(const char *address)
{
    char host[HOSTPORT_HOST_SIZE];
    uint16_t port;
    return hostport_parse(address, 1, host, &port) == 0 && hostport_is_loopback(host);
}

uint16_t address_remembered_port(const struct place *place)
{
    char path[PLACE_PATH_MAX];
    uint64_t port = 0;
    CLEANUP(buffer_fini) struct buffer text = {0};
    if (place_path(place, "head.port", path) != 0 || files_read(path, 16, &text) != 0) {
        return 0;
    }
    text.size = strcspn(buffer_text(&text), "\n");
    return text_parse_u64(buffer_text(&text), UINT16_MAX, &port) == 0 ? (uint16_t)port : 0;
}

int address_remember_port(const struct place *place, uint16_t port, struct failure *f)
{
    char path[PLACE_PATH_MAX], text[16];
    if (address_remembered_port(place) == port) {
        return 0;
    }
    int size = snprintf(text, sizeof text, "%u\n", port);
    int r = place_path(place, "head.port", path);
    r = r != 0 ? r : files_write_atomic(path, text, (size_t)size, 0600);
    return r == 0 ? 0
                  : failure_set(f, CODE_FAILED, "cannot write head.port in %s: %s", place->dir,
                                strerror(-r));
}
