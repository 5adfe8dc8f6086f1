#include "raylet/host_name.h"

#include "common/place.h"
#include "common/text.h"

static bool may_stand(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
}

bool host_name_make(const char *host, char ret[64])
{
    size_t length = strcspn(host, "."), n = 0;
    bool same = true;
    for (size_t i = 0; i < length; i++) {
        char c = may_stand(host[i]) ? host[i] : '-';
        bool leads = n == 0 && c == '-';
        bool repeats = n != 0 && c != host[i] && ret[n - 1] == '-';
        if (leads || repeats || n == 63) {
            same = false;
            continue;
        }
        same &= c == host[i];
        ret[n++] = c;
    }
    ret[n] = '\0';
    if (n == 0) {
        (void)text_copy(ret, 64, "node");
        same = false;
    }
    ASSERT(place_name_ok(ret));
    return same;
}
