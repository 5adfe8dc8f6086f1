/*
 * The inside of a simulated node, for the files that make it up: sim_node.c (its life, the head,
 * time), sim_peers.c (sessions with other nodes), sim_drivers.c (what programs ask for),
 * sim_bodies.c (what tasks do), sim_holds.c (who waits for what and holds what). Others use
 * sim_node.h.
 */
#ifndef TESTS_SIM_SIM_INSIDE_H
#define TESTS_SIM_SIM_INSIDE_H

#include "common/clock.h"
#include "proto/session.h"
#include "tests/sim/sim_config.h"

/* What a task does is written in its payload; what it returns follows from it, so that each value
 * can be checked. */
#define WORD_MASK     0xffffffffull
#define DOES_NEST     (1ull << 40) /* submits tasks and waits for them */
#define DOES_ALIAS    (1ull << 41) /* returns a task's result that it submitted */
#define DOES_FAIL     (1ull << 42) /* in its first attempt */
#define TAKES_LONG    (1ull << 43)
#define TAKES_NO_TIME (1ull << 44)
#define RUNS_ONCE     (1ull << 45) /* at most, whatever happens */
#define HEEDS_NOTHING (1ull << 46) /* a body that does not look whether it was cancelled */
#define RETURNS_REFS  (1ull << 47) /* its value has references inside: given ones and new ones */
#define READS_REFS    (1ull << 48) /* waits for the references that it was given */
#define KEEPS_REFS    (1ull << 49) /* holds them beyond its body */
#define PASSES_REFS   (1ull << 50) /* gives them to the tasks that it submits */
#define TAKES_X       (1ull << 52) /* one of the node's */
#define RETURNS_REF   (1ull << 51) /* returns the first reference that it was given */

#define TAKES_XX (1ull << 53) /* two of the node's */
#define DOES_HOG (1ull << 54) /* after a while it submits a task and waits for it */

#define SIM_NODE_PORT 7500 /* of the first node */
#define ASKED_MAX     256
#define CHILDREN      3
#define REFS_MAX      8 /* that one body looks at */
#define KEPT_MAX      6
#define JOBS_MAX      4096
#define LINKS_MAX     32
#define FETCHES_MAX   32

/* ---- sessions with other nodes ---- */

struct sim_sent_run { /* of a task to another node */
    uint64_t run;
    struct object_id task;
    uint32_t attempt;
    bool started; /* as we were told */
    UT_hash_handle hh;
};

struct sim_peer_link {
    struct sim_node *node;
    bool used, out, up, slow, refused;
    bool retired;  /* freed as soon as none of its callbacks runs */
    bool renewed;  /* IN: was ended here; another session may begin on this connection */
    uint32_t peer; /* OUT: who shall be there; IN: as it says */
    int other;     /* OUT: which node has that port */
    uint64_t transport_peer;
    struct transport *client;
    struct session *session; /* NULL: it was somebody else */
    uint64_t said, heard;    /* batches */
    struct sim_sent_run *runs;
    struct buffer batch;    /* of this step */
    struct buffer *waiting; /* batches for which there was no room */
    uint32_t waiting_count;
};

struct sim_peers {
    struct transport *server;
    struct sim_peer_link links[LINKS_MAX];
    uint64_t down_ns[SIM_NUMBERS_MAX]; /* by node number: when a session with it last ended */
};

void sim_peers_start(struct sim_node *n);
void sim_peers_stop(struct sim_node *n);
void sim_peers_hook(struct rig_hooks *hooks);
void sim_peers_tick(struct sim_node *n);
void sim_peers_flush(struct sim_node *n); /* what this step said */
/* Whether that node has a session with us, as the home of what runs here. */
bool sim_peers_is_home(struct sim_node *n, uint32_t number);
uint64_t sim_peers_next_ns(const struct sim_node *n);
void sim_peers_cut(struct sim_node *n);                                /* as n->cut_* say now */
uint64_t sim_peers_down_ns(const struct sim_node *n, uint32_t number); /* 0: never */

/* ---- who waits for what ---- */

struct get_key {
    struct object_id id;
    uint32_t client, zero;
};

/* What a process holds a reference by; it may be void when that is gone. */
struct sim_cover {
    uint32_t home;     /* a task of this node brought it; 0: none did */
    uint64_t since_ns; /* no session with that node has ended since */
    uint32_t through;  /* a value of this node had it inside; 0: none */
    uint64_t job;      /* 0: the process's own, as long as it lives */
};

struct sim_get { /* a GET that is not answered */
    struct get_key key;
    uint64_t since_ns;
    uint32_t count;
    struct sim_cover cover;
    uint64_t stuck_ns; /* part of a cycle since; 0: not */
    bool released;     /* while it waited */
    bool pried;        /* by a process that does not hold it: it must not be told */
    UT_hash_handle hh;
};

/* Asks; the answer is counted and checked. */
void sim_ask(struct sim_node *n, struct rig_process *p, struct object_id id,
             struct sim_cover cover);
/* The same of what it does not hold, with all that it can say to get at it. */
void sim_pry(struct sim_node *n, struct rig_process *p, struct object_id id);
/* Whether what covers it may be gone. */
bool sim_is_doubtful(const struct sim_node *n, const struct sim_cover *cover);
/* It gives its hold back. */
void sim_release(struct sim_node *n, struct rig_process *p, struct object_id id);
/* Whether an answer is still to come. */
bool sim_is_asked(const struct sim_node *n, const struct rig_process *p, struct object_id id);
void sim_forget_gets(struct sim_node *n, const struct rig_process *p); /* NULL: of all */
/* Those that wait for what is settled elsewhere for too long end the run. */
void sim_check_gets(struct sim_node *n);
void sim_heard(void *node, struct rig_process *p, const struct local_value *v, struct bytes bytes,
               const struct failure *failure);

/* ---- drivers ---- */

struct asked {
    struct object_id id;
    bool late;        /* its value is asked for some time later */
    uint32_t through; /* came out of a value of this node; 0: made here */
    bool settled;
};

enum { DRIVER_CLASSES = 13 };

struct sim_driver {
    struct rig_process *process;
    uint32_t classes[DRIVER_CLASSES];
    uint32_t class_count;
    uint32_t hog_classes; /* the first of them */
    struct asked asked[ASKED_MAX];
    uint32_t count;
    struct object_id heard[REFS_MAX]; /* by a script: what is inside the last value */
    uint32_t heard_count;
    uint32_t quota; /* tasks it still submits */
    bool hasty;     /* leaves before all is answered */
    bool drained;   /* has all its answers and holds nothing any more */
    uint64_t next_ns;
    bool welcomed;
};

void sim_drivers_advance(struct sim_node *n);
uint64_t sim_drivers_next_ns(const struct sim_node *n);
/* An answer that one of them waited for: `refs` stand inside of it. */
void sim_driver_hears(struct sim_node *n, struct sim_driver *d, struct object_id id, uint32_t code,
                      const struct object_id *refs, uint32_t ref_count);
struct sim_driver *sim_driver_of(struct sim_node *n, const struct rig_process *p);

/* ---- bodies ---- */

struct sim_kept { /* a reference that a worker holds beyond the body that was given it */
    struct object_id id;
    struct sim_cover cover;
    uint64_t until_ns;
    bool asked;
};

struct sim_body {
    bool busy, waits;
    uint64_t looked; /* n->answers when it last looked whether its own came */
    uint32_t client; /* of the process that it was begun in */
    uint64_t since_ns, until_ns;
    struct object_id children[CHILDREN];
    uint32_t child_count;
    struct object_id put;
    struct object_id named; /* what it said that it waits for */
    uint32_t classes;       /* declared by this worker */
    uint32_t hog_classes;
    struct sim_kept kept[KEPT_MAX];
    uint32_t kept_count;
};

/* Its body waits for what its children, and those that it was given, will be. */
void sim_body_blocks(struct sim_node *n, struct rig_process *w, struct sim_body *b);
uint32_t sim_body_waits_for(struct sim_node *n, const struct rig_process *w,
                            const struct sim_body *b, struct object_id *ret, uint32_t most);

/* ---- tasks that wait and keep "x" (sim_hogs.c) ---- */

/* Declares their classes; the first one's number. */
uint32_t sim_hog_declare(struct sim_node *n, struct rig_process *p);
/* One of them at random: what it is and does. */
uint32_t sim_hog_choose(struct sim_node *n, double waits, struct sim_wish *ret, uint64_t *ret_does);
/* What a body does that keeps its "x" and waits. */
void sim_hog_goes_on(struct sim_node *n, struct rig_process *w, struct sim_body *b);
uint32_t sim_hog_x(uint64_t payload);

void sim_bodies_advance(struct sim_node *n);
uint64_t sim_bodies_next_ns(const struct sim_node *n);

/* ---- the node ---- */

struct sim_fetch {
    uint64_t job, at_ns;
    uint8_t hash[PEER_HASH_SIZE];
};

struct sim_node {
    struct sim_config config;
    struct rig *rig; /* NULL: down */
    struct transport *transport;
    struct session *session; /* with the head */
    struct sim_outages missed;
    uint64_t tried_ns, tried_lost; /* what it said to the head last, how many packets were lost */
    bool tried_in_vain, joined;
    struct sim_peers peers;
    struct sim_fetch fetches[FETCHES_MAX];
    uint64_t now_ns;
    uint32_t last_number;
    struct sim_driver drivers[SIM_DRIVERS];
    struct sim_body bodies[RIG_PROCESSES];
    struct sim_get *gets;
    uint64_t answers; /* that came */
    uint64_t gets_checked_ns;
    uint64_t jobs[JOBS_MAX];
    uint32_t job_count;
    bool cut_to, cut_from; /* the head */
    bool cut_to_peer[SIM_NODES_MAX], cut_from_peer[SIM_NODES_MAX];
    bool finishing, dismissed;
    bool poked; /* something came: it wants its turn */
    uint64_t next_ns;
};

#endif
