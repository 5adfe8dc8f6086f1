#include "proto/resolver.h"

#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/list.h"
#include "common/text.h"

struct resolver_job {
    struct list link;
    char texts[RESOLVER_TEXTS_MAX][HOSTPORT_SIZE];
    size_t count;
    size_t (*find)(const char *place, char (*ret)[HOSTPORT_SIZE], size_t room);
    char *place;
    bool find_first;
    struct resolver_question *asker; /* the loop's thread; NULL: dropped */
    struct resolver_answer answer;
};

/* Shared by the loop's thread and the other one; who leaves last frees it. */
struct shared {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct list asked, answered;
    unsigned users;
    bool ended;
    int bell; /* the loop's; -1 once it is gone */
};

struct resolver {
    struct shared *shared;
    struct loop_source source;
    bool has_thread;
};

/* ---- looking up ---- */

static size_t size_of(const union probe_address *a)
{
    return a->any.sa_family == AF_INET ? sizeof a->four : sizeof a->six;
}

static void add(struct resolver_answer *answer, const struct addrinfo *found)
{
    union probe_address a = {0};
    if (answer->count == RESOLVER_ADDRESSES_MAX || found->ai_addrlen > sizeof a ||
        (found->ai_family != AF_INET && found->ai_family != AF_INET6)) {
        return;
    }
    memcpy(&a, found->ai_addr, found->ai_addrlen);
    for (size_t i = 0; i < answer->count; i++) {
        if (memcmp(&answer->addresses[i], &a, size_of(&a)) == 0) {
            return;
        }
    }
    answer->addresses[answer->count++] = a;
}

static bool look_up(const char *text, int flags, struct resolver_answer *answer)
{
    char host[HOSTPORT_HOST_SIZE], service[8];
    uint16_t port;
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = flags};
    struct addrinfo *found;
    if (hostport_parse(text, 0, host, &port) != 0) {
        return false;
    }
    snprintf(service, sizeof service, "%u", port);
    if (getaddrinfo(host, service, &hints, &found) != 0) {
        return false; /* another one may be known */
    }
    for (const struct addrinfo *a = found; a != NULL; a = a->ai_next) {
        add(answer, a);
    }
    freeaddrinfo(found);
    return true;
}

static void run(struct resolver_job *job)
{
    char found[RESOLVER_TEXTS_MAX][HOSTPORT_SIZE];
    size_t count = job->find != NULL ? job->find(job->place, found, RESOLVER_TEXTS_MAX) : 0;
    for (size_t i = 0; i < count && job->find_first; i++) {
        (void)look_up(found[i], 0, &job->answer);
    }
    for (size_t i = 0; i < job->count; i++) {
        (void)look_up(job->texts[i], 0, &job->answer);
    }
    for (size_t i = 0; i < count && !job->find_first; i++) {
        (void)look_up(found[i], 0, &job->answer);
    }
}

static struct resolver_job *job_new(const struct resolver_wish *wish)
{
    struct resolver_job *job = xcalloc(1, sizeof *job);
    list_init(&job->link);
    for (size_t i = 0; i < wish->count && job->count < RESOLVER_TEXTS_MAX; i++) {
        job->count += text_copy(job->texts[job->count], HOSTPORT_SIZE, wish->texts[i]);
    }
    job->find = wish->find;
    job->place = wish->place != NULL ? xstrdup(wish->place) : NULL;
    job->find_first = wish->find_first;
    return job;
}

static void job_free(struct resolver_job *job)
{
    free(job->place);
    free(job);
}

void resolver_ask_now(const struct resolver_wish *wish, struct resolver_answer *ret)
{
    struct resolver_job *job = job_new(wish);
    run(job);
    *ret = job->answer;
    job_free(job);
}

bool resolver_is_plain(const struct resolver_wish *wish)
{
    char host[HOSTPORT_HOST_SIZE];
    uint16_t port;
    for (size_t i = 0; i < wish->count; i++) {
        if (hostport_parse(wish->texts[i], 0, host, &port) == 0 && !hostport_is_numeric(host)) {
            return false;
        }
    }
    return wish->find == NULL;
}

/* ---- the thread ---- */

static void shared_unref(struct shared *s)
{
    pthread_mutex_lock(&s->mutex);
    bool is_last = --s->users == 0;
    pthread_mutex_unlock(&s->mutex);
    if (!is_last) {
        return;
    }
    struct list *lists[] = {&s->asked, &s->answered};
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        for (struct list *at = list_pop(lists[i]); at != NULL; at = list_pop(lists[i])) {
            job_free(list_entry(at, struct resolver_job, link));
        }
    }
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->mutex);
    free(s);
}

static void *look_up_all(void *arg)
{
    struct shared *s = arg;
    pthread_mutex_lock(&s->mutex);
    while (!s->ended) {
        struct list *at = list_pop(&s->asked);
        if (at == NULL) {
            pthread_cond_wait(&s->changed, &s->mutex);
            continue;
        }
        struct resolver_job *job = list_entry(at, struct resolver_job, link);
        pthread_mutex_unlock(&s->mutex);
        run(job);
        pthread_mutex_lock(&s->mutex);
        list_append(&s->answered, &job->link);
        if (s->bell >= 0) {
            (void)eventfd_write(s->bell, 1);
        }
    }
    pthread_mutex_unlock(&s->mutex);
    shared_unref(s);
    return NULL;
}

static int start_thread(struct resolver *r)
{
    sigset_t all, before;
    pthread_attr_t attr;
    pthread_t thread;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    r->shared->users++; /* nobody else is there yet */
    int error = pthread_create(&thread, &attr, look_up_all, r->shared);
    r->shared->users -= error != 0;
    pthread_attr_destroy(&attr);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    r->has_thread = error == 0;
    return -error;
}

/* ---- the loop's side ---- */

static struct resolver_job *pop_answered(struct shared *s)
{
    pthread_mutex_lock(&s->mutex);
    struct list *at = list_pop(&s->answered);
    pthread_mutex_unlock(&s->mutex);
    return at != NULL ? list_entry(at, struct resolver_job, link) : NULL;
}

static void on_bell(struct loop_source *source, uint32_t epoll_events)
{
    struct resolver *r = source->arg;
    struct shared *s = r->shared;
    eventfd_t value;
    (void)eventfd_read(source->fd, &value);
    pthread_mutex_lock(&s->mutex);
    s->users++; /* a callback may free the resolver */
    pthread_mutex_unlock(&s->mutex);
    for (struct resolver_job *job = pop_answered(s); job != NULL; job = pop_answered(s)) {
        struct resolver_question *q = job->asker;
        if (q != NULL) {
            q->job = NULL;
            q->fn(q, &job->answer);
        }
        job_free(job);
    }
    shared_unref(s);
}

int resolver_new(struct loop *loop, struct resolver **ret)
{
    struct resolver *r = xcalloc(1, sizeof *r);
    struct shared *s = r->shared = xcalloc(1, sizeof *s);
    pthread_mutex_init(&s->mutex, NULL);
    pthread_cond_init(&s->changed, NULL);
    list_init(&s->asked);
    list_init(&s->answered);
    s->users = 1;
    s->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int e = s->bell < 0 ? -errno : loop_add(loop, &r->source, s->bell, EPOLLIN, on_bell, r);
    if (e != 0) {
        resolver_free(r);
        return e;
    }
    *ret = r;
    return 0;
}

void resolver_free(struct resolver *r)
{
    if (r == NULL) {
        return;
    }
    struct shared *s = r->shared;
    loop_remove(&r->source);
    pthread_mutex_lock(&s->mutex);
    s->ended = true;
    close_fd(&s->bell);
    s->bell = -1;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->mutex);
    shared_unref(s);
    free(r);
}

int resolver_ask(struct resolver *r, struct resolver_question *q, const struct resolver_wish *wish)
{
    ASSERT(q->job == NULL);
    int e = r->has_thread ? 0 : start_thread(r);
    if (e != 0) {
        return e;
    }
    struct resolver_job *job = job_new(wish);
    job->asker = q;
    q->job = job;
    pthread_mutex_lock(&r->shared->mutex);
    list_append(&r->shared->asked, &job->link);
    pthread_cond_signal(&r->shared->changed);
    pthread_mutex_unlock(&r->shared->mutex);
    return 0;
}

void resolver_drop(struct resolver_question *q)
{
    if (q->job != NULL) {
        q->job->asker = NULL;
        q->job = NULL;
    }
}

bool resolver_is_asking(const struct resolver_question *q)
{
    return q->job != NULL;
}
