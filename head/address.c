#include "head/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/files.h"
#include "common/text.h"

/* The kernel says from where it would send; nothing is sent. */
static bool default_route(char ret[INET_ADDRSTRLEN])
{
    struct sockaddr_in far = {.sin_family = AF_INET, .sin_port = htons(9)};
    struct sockaddr_in here;
    socklen_t size = sizeof here;
    CLEANUP_FD int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    /* An address that nobody has (RFC 5737). */
    return fd >= 0 && inet_pton(AF_INET, "198.51.100.1", &far.sin_addr) == 1 &&
           connect(fd, (const struct sockaddr *)&far, sizeof far) == 0 &&
           getsockname(fd, (struct sockaddr *)&here, &size) == 0 &&
           inet_ntop(AF_INET, &here.sin_addr, ret, INET_ADDRSTRLEN) != NULL;
}

void address_format(const char *bind, uint16_t port, char ret[HOSTPORT_SIZE])
{
    char host[INET_ADDRSTRLEN] = "127.0.0.1";
    if (hostport_is_any(bind)) {
        (void)default_route(host);
        bind = host;
    }
    hostport_format(bind, port, ret);
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
