#include "sdk/requests.h"

static struct request *waiting;

static bool is_over(void *arg)
{
    const struct request *r = arg;
    return r->over;
}

static void forget(const struct request *r)
{
    for (struct request **at = &waiting; *at != NULL; at = &(*at)->next) {
        if (*at == r) {
            *at = r->next;
            return;
        }
    }
}

int request_ask(struct request *r, struct local_msg *m, uint64_t deadline_ns)
{
    r->number = ++runtime.link.next_request;
    r->over = false;
    if (m->type == LOCAL_CANCEL) {
        m->cancel.request = r->number;
    } else {
        m->query.request = r->number;
    }
    r->next = waiting;
    waiting = r;
    int rc = link_send(&runtime.link, m);
    if (rc == 0) {
        rc = link_wait(&runtime.link, is_over, r, deadline_ns, NULL);
    }
    forget(r);
    return rc;
}

void request_take(const struct local_msg *m)
{
    uint64_t number = m->type == LOCAL_CANCELLED ? m->cancelled.request : m->reply.request;
    for (struct request *r = waiting; r != NULL; r = r->next) {
        if (r->number != number) {
            continue;
        }
        if (m->type == LOCAL_CANCELLED) {
            r->code = m->cancelled.code;
            r->over = true;
        } else if (r->reply != NULL) {
            r->reply(r, &m->reply);
            r->over = m->reply.reply.last;
        }
        if (r->over) {
            forget(r);
        }
        return;
    }
}
