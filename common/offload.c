#include "common/offload.h"

#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct works {
    struct offload_work *first, *last;
};

struct offload {
    struct loop_source source; /* of done_fd */
    int done_fd;
    pthread_t thread;
    void (*run_batch)(struct offload_work *first, void *arg);
    void *batch_arg;
    pthread_mutex_t lock; /* the rest is under it */
    pthread_cond_t given;
    struct works todo, done;
    bool ending;
};

static void append(struct works *to, struct works *from)
{
    if (from->first == NULL) {
        return;
    }
    if (to->first == NULL) {
        *to = *from;
    } else {
        to->last->next = from->first;
        to->last = from->last;
    }
    *from = (struct works){0};
}

static struct offload_work *pop(struct works *works)
{
    struct offload_work *work = works->first;
    if (work != NULL) {
        works->first = work->next;
        work->next = NULL;
    }
    return work;
}

static void run_works(struct offload *o, struct works *works)
{
    if (o->run_batch != NULL) {
        o->run_batch(works->first, o->batch_arg);
        return;
    }
    for (struct offload_work *work = works->first; work != NULL; work = work->next) {
        work->run(work);
    }
}

static void wake_loop(struct offload *o)
{
    uint64_t one = 1;
    ssize_t written = write(o->done_fd, &one, sizeof one);
    (void)written; /* fails only when the counter is full: the loop is awake then */
}

static void *thread_main(void *arg)
{
    struct offload *o = arg;
    pthread_mutex_lock(&o->lock);
    for (;;) {
        while (o->todo.first == NULL && !o->ending) {
            pthread_cond_wait(&o->given, &o->lock);
        }
        if (o->todo.first == NULL) {
            break;
        }
        /* All of them for a batch; else one at a time, so that the first done is not late. */
        struct works mine = o->todo;
        if (o->run_batch != NULL) {
            o->todo = (struct works){0};
        } else {
            o->todo.first = mine.first->next;
            mine.first->next = NULL;
            mine.last = mine.first;
        }
        pthread_mutex_unlock(&o->lock);
        run_works(o, &mine);
        pthread_mutex_lock(&o->lock);
        bool is_first = o->done.first == NULL;
        append(&o->done, &mine);
        if (is_first) {
            wake_loop(o); /* who has rung and is not yet heard need not ring again */
        }
    }
    pthread_mutex_unlock(&o->lock);
    return NULL;
}

static void call_done(struct offload *o)
{
    pthread_mutex_lock(&o->lock);
    struct works done = o->done;
    o->done = (struct works){0};
    pthread_mutex_unlock(&o->lock);
    for (struct offload_work *work = pop(&done); work != NULL; work = pop(&done)) {
        work->done(work);
    }
}

static void on_done(struct loop_source *source, uint32_t epoll_events)
{
    struct offload *o = source->arg;
    uint64_t count;
    ssize_t got = read(o->done_fd, &count, sizeof count);
    (void)got;
    call_done(o);
}

static int start_thread(struct offload *o, const char *name)
{
    sigset_t all, before;
    sigfillset(&all);
    int r = pthread_sigmask(SIG_SETMASK, &all, &before);
    ASSERT(r == 0);
    int started = pthread_create(&o->thread, NULL, thread_main, o);
    r = pthread_sigmask(SIG_SETMASK, &before, NULL);
    ASSERT(r == 0);
    if (started == 0) {
        (void)pthread_setname_np(o->thread, name); /* for people who look; not needed */
    }
    return -started;
}

int offload_new(struct offload **ret, struct loop *loop, const char *name)
{
    struct offload *o = xcalloc(1, sizeof *o);
    pthread_mutex_init(&o->lock, NULL);
    pthread_cond_init(&o->given, NULL);
    o->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int r = o->done_fd < 0 ? -errno : loop_add(loop, &o->source, o->done_fd, EPOLLIN, on_done, o);
    if (r == 0) {
        r = start_thread(o, name);
    }
    if (r != 0) {
        loop_remove(&o->source);
        close_fd(&o->done_fd);
        free(o);
        return r;
    }
    *ret = o;
    return 0;
}

void offload_set_batch(struct offload *o, void (*run_batch)(struct offload_work *, void *),
                       void *arg)
{
    pthread_mutex_lock(&o->lock);
    ASSERT(o->todo.first == NULL);
    o->run_batch = run_batch;
    o->batch_arg = arg;
    pthread_mutex_unlock(&o->lock);
}

void offload_submit(struct offload *o, struct offload_work *work)
{
    work->next = NULL;
    struct works one = {work, work};
    pthread_mutex_lock(&o->lock);
    bool was_empty = o->todo.first == NULL;
    append(&o->todo, &one);
    pthread_mutex_unlock(&o->lock);
    if (was_empty) {
        pthread_cond_signal(&o->given);
    }
}

void offload_free(struct offload *o)
{
    if (o == NULL) {
        return;
    }
    pthread_mutex_lock(&o->lock);
    o->ending = true;
    pthread_mutex_unlock(&o->lock);
    pthread_cond_signal(&o->given);
    int r = pthread_join(o->thread, NULL);
    ASSERT(r == 0);
    loop_remove(&o->source);
    call_done(o);
    while (o->todo.first != NULL) {
        /* Given by a `done` after the thread had left. */
        struct works late = o->todo;
        o->todo = (struct works){0};
        run_works(o, &late);
        append(&o->done, &late);
        call_done(o);
    }
    pthread_cond_destroy(&o->given);
    pthread_mutex_destroy(&o->lock);
    close_fd(&o->done_fd);
    free(o);
}
