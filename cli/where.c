#include "cli/where.h"

#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

#include "common/files.h"
#include "common/text.h"
#include "proto/keys.h"

#define HEAD_PORT   7420
#define CLIENT_FILE "client.key"

/* A variable that is set and not empty, else NULL. */
static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && *value != '\0' ? value : NULL;
}

/* What names the cluster; --dir overrules variables. */
static const char *chosen(const struct where *w)
{
    return w->cluster != NULL ? w->cluster : w->dir != NULL ? NULL : variable("DRT_CLUSTER");
}

/* No cluster's name has a colon. */
static bool is_address(const char *text)
{
    return text != NULL && strchr(text, ':') != NULL;
}

bool where_is_remote(const struct where *w)
{
    return w->key_file != NULL || is_address(chosen(w));
}

/* "host:port" as links and key files write it. */
static int take_address(const char *text, char ret[HOSTPORT_SIZE], struct failure *f)
{
    char host[256];
    uint16_t port;
    if (hostport_parse(text, HEAD_PORT, host, &port) != 0) {
        char shown[128];
        (void)text_copy(shown, sizeof shown, text);
        text_clean(shown);
        return failure_set(
            f, CODE_SIGNATURE,
            "\"%s\" is not an address. Give the head's as host:port, as 'drt-head start' "
            "printed it.",
            shown);
    }
    hostport_format(host, port, ret);
    return 0;
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

/* One directory beneath ~/.drt: whether its client.key is for this address. */
static bool try_directory(const char *dir, const char *address, char ret_path[PLACE_PATH_MAX],
                          bool *ret_live)
{
    struct place place;
    struct keys_member keys;
    struct failure ignored;
    char lock[PLACE_PATH_MAX];
    if (place_for_start(dir, NULL, &place, &ignored) != 0 ||
        keys_load_role(&place, PEER_CLIENT, &keys, &ignored) != 0) {
        return false;
    }
    bool found = names_address(&keys, address) && place_path(&place, CLIENT_FILE, ret_path) == 0;
    explicit_bzero(&keys, sizeof keys);
    *ret_live = place_path(&place, "head.lock", lock) == 0 && files_is_locked(lock);
    return found;
}

/* Several clusters may have lived at one address: one whose head runs here is meant first. */
static bool search_home(const char *address, char ret[PLACE_PATH_MAX])
{
    char base[PLACE_PATH_MAX];
    struct dirent **entries;
    struct failure ignored;
    bool found = false, live = false;
    if (place_home(base, &ignored) != 0) {
        return false;
    }
    int count = scandir(base, &entries, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        char dir[PLACE_PATH_MAX + 256 + 2], path[PLACE_PATH_MAX];
        bool candidate_live = false;
        snprintf(dir, sizeof dir, "%s/%s", base, entries[i]->d_name);
        if (place_name_ok(entries[i]->d_name) && !live &&
            try_directory(dir, address, path, &candidate_live) && (!found || candidate_live)) {
            memcpy(ret, path, sizeof path);
            found = true;
            live = candidate_live;
        }
        free(entries[i]);
    }
    if (count >= 0) {
        free(entries);
    }
    return found;
}

/* The directory that the command line or the environment names. False: none. */
static bool find_directory(const struct where *w, struct place *ret)
{
    struct failure ignored;
    const char *name = variable("DRT_CLUSTER");
    const char *dir = w->dir != NULL ? w->dir : variable("DRT_DIR");
    if (dir == NULL && (name == NULL || is_address(name))) {
        return false;
    }
    return place_for_start(dir, dir == NULL ? name : NULL, ret, &ignored) == 0;
}

int where_remote(const struct where *w, struct remote_wish *ret, struct failure *f)
{
    struct remote_wish wish = {0};
    struct place place;
    const char *cluster = chosen(w);
    const char *file = w->key_file != NULL ? w->key_file : variable("DRT_KEY_FILE");
    int r = 0;
    if (is_address(cluster)) {
        r = take_address(cluster, wish.address, f);
    } else if (w->cluster != NULL) {
        (void)text_copy(wish.cluster, sizeof wish.cluster, w->cluster);
    }
    if (r != 0) {
        return r;
    }
    bool found = file != NULL                ? text_copy(wish.key_file, sizeof wish.key_file, file)
                 : find_directory(w, &place) ? place_path(&place, CLIENT_FILE, wish.key_file) == 0
                                             : search_home(wish.address, wish.key_file);
    if (!found) {
        return failure_set(f, CODE_REFUSED,
                           "no key for %s. Copy client.key from the head's directory, and give it "
                           "with --key-file or DRT_KEY_FILE.",
                           wish.address);
    }
    *ret = wish;
    return 0;
}

/* Whether the key is for another cluster. One that cannot be used is for the user to hear of. */
static bool is_for_another(const char *path, const char *cluster)
{
    struct keys_member keys;
    struct failure ignored;
    bool differs = keys_load_member(path, 0, &keys, &ignored) == 0 && cluster != NULL &&
                   strcmp(keys.cluster, cluster) != 0;
    explicit_bzero(&keys, sizeof keys);
    return differs;
}

bool where_else(const struct where *w, const struct place *place, struct remote_wish *ret)
{
    struct remote_wish wish = {0};
    char head[PLACE_PATH_MAX];
    const char *file = variable("DRT_KEY_FILE");
    const char *cluster = place != NULL ? place->cluster : chosen(w);
    if (place != NULL && place_path(place, CLIENT_FILE, wish.key_file) == 0 &&
        access(wish.key_file, F_OK) == 0) {
        /* A head of this directory that answered nothing here would not do so over the network. */
        bool is_home = place_path(place, "head.key", head) != 0 || access(head, F_OK) == 0;
        *ret = wish;
        return !is_home;
    }
    if (file == NULL || !text_copy(wish.key_file, sizeof wish.key_file, file) ||
        is_for_another(file, cluster)) {
        return false;
    }
    *ret = wish;
    return true;
}
