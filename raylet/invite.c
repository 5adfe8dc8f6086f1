#include "raylet/invite.h"

#include <dirent.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <stdio.h>
#include <unistd.h>

#include "common/files.h"
#include "common/text.h"

#define HEAD_PORT 7420u

static void take_address(struct invite *i, const char *host, uint16_t port)
{
    char *to = i->addresses[i->address_count++];
    hostport_format(host, port, to);
}

static bool same_host(const struct sockaddr *a, const char *text)
{
    char own[NI_MAXHOST];
    socklen_t size =
        a->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    return (a->sa_family == AF_INET || a->sa_family == AF_INET6) &&
           getnameinfo(a, size, own, sizeof own, NULL, 0, NI_NUMERICHOST) == 0 &&
           strcmp(own, text) == 0;
}

/* Whether a numeric address is one of this machine's. */
static bool is_own_address(const char *text)
{
    struct ifaddrs *all = NULL;
    bool found = strncmp(text, "127.", 4) == 0 || strcmp(text, "::1") == 0;
    if (!found && getifaddrs(&all) == 0) {
        for (struct ifaddrs *at = all; at != NULL && !found; at = at->ifa_next) {
            found = at->ifa_addr != NULL && same_host(at->ifa_addr, text);
        }
        freeifaddrs(all);
    }
    return found;
}

static bool is_this_machine(const char *host)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    bool own = false;
    if (getaddrinfo(host, NULL, &hints, &found) != 0) {
        return false;
    }
    for (struct addrinfo *at = found; at != NULL && !own; at = at->ai_next) {
        char text[NI_MAXHOST];
        own = getnameinfo(at->ai_addr, at->ai_addrlen, text, sizeof text, NULL, 0,
                          NI_NUMERICHOST) == 0 &&
              is_own_address(text);
    }
    freeaddrinfo(found);
    return own;
}

/* Port 0: any. */
static bool listens_at(const struct keys_member *keys, uint16_t port)
{
    for (size_t i = 0; i < keys->address_count; i++) {
        char host[256];
        uint16_t at = 0;
        if (hostport_parse(keys->addresses[i], HEAD_PORT, host, &at) == 0 &&
            (at == port || port == 0)) {
            return true;
        }
    }
    return false;
}

static bool names_address(const struct keys_member *keys, const char *address)
{
    for (size_t i = 0; i < keys->address_count; i++) {
        if (hostport_same(keys->addresses[i], address)) {
            return true;
        }
    }
    return false;
}

/* One directory beneath ~/.drt: true if its head lives, or lived, at this port; `*live` tells
 * which. */
static bool try_directory(const char *dir, uint16_t port, struct invite *ret, bool *live)
{
    struct invite i = {0};
    struct failure ignored;
    char lock[PLACE_PATH_MAX];
    if (place_for_start(dir, NULL, &i.place, &ignored) != 0 ||
        keys_load_role(&i.place, PEER_NODE, &i.keys, &ignored) != 0 || !listens_at(&i.keys, port)) {
        return false;
    }
    *live = place_path(&i.place, "head.lock", lock) == 0 && files_is_locked(lock);
    *ret = i;
    return true;
}

/* The cluster whose head is at this port of this machine; with an `address` the one whose key
 * names that. */
static bool search_home(const char *address, uint16_t port, struct invite *ret)
{
    char path[PLACE_PATH_MAX];
    struct failure ignored;
    bool found = false;
    if (place_home(path, &ignored) != 0) {
        return false;
    }
    DIR *dir = opendir(path);
    if (dir == NULL) {
        return false;
    }
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        char one[PLACE_PATH_MAX + NAME_MAX + 2];
        struct invite candidate;
        bool live = false;
        snprintf(one, sizeof one, "%s/%s", path, entry->d_name);
        if (entry->d_name[0] == '.' || !try_directory(one, port, &candidate, &live) ||
            (address != NULL && !names_address(&candidate.keys, address))) {
            continue;
        }
        *ret = candidate;
        found = true;
        if (live) {
            break; /* surely this one; else the last that was seen */
        }
    }
    closedir(dir);
    return found;
}

static bool is_set(const char *variable)
{
    const char *value = getenv(variable);
    return value != NULL && value[0] != '\0';
}

/* The heads that run here, as "name" at address. */
static void list_heads(struct buffer *ret)
{
    char path[PLACE_PATH_MAX];
    struct failure ignored;
    struct dirent **entries = NULL;
    if (place_home(path, &ignored) != 0) {
        return;
    }
    int count = scandir(path, &entries, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        char one[PLACE_PATH_MAX + NAME_MAX + 2];
        struct invite candidate;
        bool live = false;
        snprintf(one, sizeof one, "%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.' && try_directory(one, 0, &candidate, &live) && live &&
            candidate.keys.address_count != 0) {
            buffer_printf(ret, "%s\"%s\" at %s", ret->size != 0 ? ", " : "", candidate.keys.cluster,
                          candidate.keys.addresses[0]);
        }
        free(entries[i]);
    }
    free(entries);
}

static int without_key(const struct invite_wish *wish, const char *host, uint16_t port,
                       struct failure *f)
{
    CLEANUP(buffer_fini) struct buffer heads = {0};
    char home[PLACE_PATH_MAX];
    int r = place_home(home, f);
    if (r != 0) {
        return r;
    }
    if (!is_this_machine(host)) {
        return failure_set(
            f, CODE_REFUSED,
            "No key for %s. Copy join.key from the head's directory to this machine, and give it "
            "with --join-file.",
            wish->address);
    }
    list_heads(&heads);
    if (heads.size != 0) {
        return failure_set(f, CODE_REFUSED,
                           "None of your heads listens on port %u of this machine. Running here: "
                           "%.300s. Give that address, or run 'drt-node join' without an address.",
                           port, buffer_text(&heads));
    }
    return failure_set(f, CODE_REFUSED,
                       "No head of yours runs on this machine. Start one with 'drt-head start'; if "
                       "it is another user's, give its join.key with --join-file; if its directory "
                       "is not under ~/.drt, name that with --dir.");
}

/* A key from wherever one is; the place is the program's own. */
static int find_private(const struct invite_wish *wish, const char *host, uint16_t port,
                        struct invite *i, struct failure *f)
{
    if (wish->dir == NULL) {
        return failure_set(f, CODE_SIGNATURE,
                           "--private needs a directory of the program's own: give it with --dir.");
    }
    if (wish->join_file != NULL) {
        int r = keys_load_member(wish->join_file, PEER_NODE, &i->keys, f);
        if (r != 0) {
            return r;
        }
    } else if (host == NULL) {
        return failure_set(f, CODE_SIGNATURE,
                           "--private needs the head's address, or a key that names it: "
                           "--join-file.");
    } else {
        char address[HOSTPORT_SIZE];
        hostport_format(host, port, address);
        if (!search_home(address, port, i) &&
            !(is_this_machine(host) && search_home(NULL, port, i))) {
            return without_key(wish, host, port, f);
        }
    }
    return place_for_start(wish->dir, i->keys.cluster, &i->place, f);
}

static int find_keys(const struct invite_wish *wish, const char *host, uint16_t port,
                     struct invite *i, struct failure *f)
{
    int r;
    if (wish->is_private) {
        return find_private(wish, host, port, i, f);
    }
    if (wish->join_file != NULL) {
        r = keys_load_member(wish->join_file, PEER_NODE, &i->keys, f);
        if (r != 0) {
            return r;
        }
        bool chosen = wish->dir != NULL || wish->cluster != NULL || is_set("DRT_DIR");
        return place_for_start(wish->dir, chosen ? wish->cluster : i->keys.cluster, &i->place, f);
    }
    if (wish->dir != NULL || wish->cluster != NULL || is_set("DRT_DIR") || is_set("DRT_CLUSTER")) {
        r = place_for_start(wish->dir, wish->cluster, &i->place, f);
        return r != 0 ? r : keys_load_role(&i->place, PEER_NODE, &i->keys, f);
    }
    if (host == NULL) {
        r = place_find(NULL, NULL, &i->place, f);
        return r != 0 ? r : keys_load_role(&i->place, PEER_NODE, &i->keys, f);
    }
    return is_this_machine(host) && search_home(NULL, port, i) ? 0
                                                               : without_key(wish, host, port, f);
}

/* A file beside the key file. */
static bool path_beside(const char *key_file, const char *name, char ret[PLACE_PATH_MAX])
{
    const char *slash = strrchr(key_file, '/');
    int size = slash != NULL ? (int)(slash - key_file) : 0;
    return slash != NULL &&
           snprintf(ret, PLACE_PATH_MAX, "%.*s/%s", size, key_file, name) < PLACE_PATH_MAX;
}

size_t invite_look_again(const char *place, char (*ret)[HOSTPORT_SIZE], size_t room)
{
    struct keys_member keys;
    struct failure ignored;
    char path[PLACE_PATH_MAX];
    uint64_t port;
    size_t count = 0;
    CLEANUP(buffer_fini) struct buffer text = {0};
    if (keys_load_member(place, PEER_NODE, &keys, &ignored) == 0) {
        for (size_t i = 0; i < keys.address_count && count < room; i++) {
            memcpy(ret[count++], keys.addresses[i], HOSTPORT_SIZE);
        }
        explicit_bzero(&keys, sizeof keys);
    }
    if (count < room && path_beside(place, "head.key", path) && access(path, F_OK) == 0 &&
        path_beside(place, "head.port", path) && files_read(path, 16, &text) == 0) {
        text.size = strcspn(buffer_text(&text), "\n");
        if (text_parse_u64(buffer_text(&text), UINT16_MAX, &port) == 0 && port != 0) {
            hostport_format("127.0.0.1", (uint16_t)port, ret[count++]);
        }
    }
    return count;
}

/* The working directory may be another one when it is looked at. */
static void remember_place(struct invite *i)
{
    char path[PLACE_PATH_MAX], head[PLACE_PATH_MAX];
    if (realpath(i->key_name, path) != NULL) {
        (void)text_copy(i->place_text, sizeof i->place_text, path);
        i->at_home = path_beside(path, "head.key", head) && access(head, F_OK) == 0;
    }
}

int invite_find(const struct invite_wish *wish, struct invite *ret, struct failure *f)
{
    struct invite i = {0};
    char host[256];
    uint16_t port = 0;
    if (wish->address != NULL && hostport_parse(wish->address, HEAD_PORT, host, &port) != 0) {
        return failure_set(f, CODE_SIGNATURE,
                           "\"%.120s\" is not an address. Give the head's address as host:port, as "
                           "'drt-head start' printed it.",
                           wish->address);
    }
    int r = find_keys(wish, wish->address != NULL ? host : NULL, port, &i, f);
    if (r != 0) {
        return r;
    }
    if (wish->address != NULL) {
        take_address(&i, host, port);
    } else {
        memcpy(i.addresses, i.keys.addresses, sizeof i.addresses);
        i.address_count = i.keys.address_count;
    }
    i.typed = wish->address != NULL;
    if (i.address_count == 0) {
        return failure_set(f, CODE_SIGNATURE,
                           "The key of \"%s\" does not contain the address of its head. Give the "
                           "address: drt-node join <host:port>.",
                           i.keys.cluster);
    }
    if (wish->join_file != NULL) {
        (void)text_copy(i.key_name, sizeof i.key_name, wish->join_file);
    } else if (place_path(&i.place, "join.key", i.key_name) != 0) {
        (void)text_copy(i.key_name, sizeof i.key_name, "join.key");
    }
    remember_place(&i);
    *ret = i;
    return 0;
}
