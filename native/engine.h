/* The engine of one worker: it owns the worker's epoll set and moves the bytes of every tunnel.
 *
 * Theory of operation
 *
 * Python decides, C moves bytes.  Python asks for one operation of a tunnel at a time (handshake, dial, relay); the
 * engine carries it out as descriptors become ready and then leaves one `struct decision` in a queue, which Python
 * reads when engine_run() returns.  While no tunnel needs a decision, engine_run() does not return: an established
 * tunnel runs no Python at all.
 *
 * Who owns what.  A tunnel owns its two descriptors, its SSL and whatever a sink refused (`struct outbox`).  Nothing
 * is ever read from a source while its sink still owes bytes, so a tunnel's memory is bounded by one turn's worth.
 * The two scratch buffers belong to the engine and are empty between two turns.  A closed tunnel is freed at the end of
 * the turn only, so pointers in a batch of events stay good.
 *
 * Readiness.  Tunnel descriptors are registered once, edge-triggered.  `readable` and `writable` remember an edge until
 * the descriptor says EAGAIN or, for reads, until a short read; a hang-up, an error or urgent data make short reads
 * meaningless (`suspect`), then only EAGAIN or an end counts.
 *
 * OpenSSL never sees the socket: its BIO reads with recv() into OpenSSL's own buffer and writes into the engine's
 * `sealed` scratch, which is sent with one send() at the end of the turn.  So SSL_write never waits for the socket.
 *
 * Standing orders.  Where nothing that happens to a connection needs Python as long as it goes well (no log line, no
 * choice of a far end, no judgement of a certificate), Python says so once, in the service's `struct route`, and the
 * engine takes such connections from accept to close by itself.  Whatever does not go well becomes a decision, and from
 * there on the tunnel is Python's.
 *
 * Endings are kept per direction (`enum flow`), and passed on only after the last byte before them was delivered;
 * see relay.c.
 */
#ifndef CULVERT_ENGINE_H
#define CULVERT_ENGINE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <openssl/ssl.h>

#define OPENED_SIZE (256 * 1024)                 /* plain bytes a turn may hold */
#define RECORD_SIZE (16 * 1024)                  /* plain bytes of a TLS record */
#define SEALED_SIZE (OPENED_SIZE + 32 * 1024)    /* the same, as records */
#define OWED_MAX (1024 * 1024)                   /* bytes that a sink may owe; more ends the tunnel */
#define TURN_BUDGET (1024 * 1024)                /* bytes a direction may move before others get a turn */
#define EVENTS_MAX 256
#define PEER_MAX 28                              /* struct sockaddr_in6; a Unix peer has no address worth keeping */

/* What stands behind an epoll event.  Descriptors of asyncio are marked by the lowest bit of the data instead. */
enum watch_kind { WATCH_LISTENER = 1, WATCH_ACCEPTED, WATCH_DIALLED };

struct watch {
    int fd;
    int error;               /* errno that ended this descriptor, 0 while it lives */
    uint8_t kind;
    uint8_t readable;
    uint8_t writable;
    uint8_t suspect;         /* a short read proves nothing any more */
    uint8_t eof;             /* recv() returned 0 */
    uint8_t registered;
    uint8_t wants_write;     /* EPOLLOUT is asked for */
    uint8_t local;           /* AF_UNIX: outbox.c says how such a peer is shown a reset */
    uint8_t kept;            /* AF_UNIX: a delivered byte still lies in the kernel's queue */
    uint8_t hangup;          /* EPOLLRDHUP or EPOLLHUP was reported */
    uint8_t last;            /* what can be read now is all that there will be */
    uint8_t terminal;        /* no socket but the master end of a pseudo terminal: adopt.c */
};

/* Bytes that a sink refused, oldest first. */
struct outbox {
    unsigned char *bytes;
    uint32_t start;
    uint32_t end;
    uint32_t size;
};

enum side { ACCEPTED = 0, DIALLED = 1 };

enum phase { PHASE_REST, PHASE_HANDSHAKE, PHASE_DIAL, PHASE_RELAY, PHASE_SETTLE, PHASE_OVER, PHASE_TALK };

/* One direction, named by the side it reads from. */
enum flow {
    FLOW_OPEN,               /* reading */
    FLOW_ENDED,              /* a clean end was read; bytes before it may still be owed */
    FLOW_PASSED,             /* the end was passed on */
    FLOW_CUT,                /* reset, truncation or a broken record: never passed on as an end */
    FLOW_DROPPED,            /* its sink is gone; what it still brings has no destination */
};

/* Why a tunnel, a handshake or a dial ended.  Kept in step with culvert.engine.endings. */
enum cause {
    CAUSE_CLEAN,             /* both directions ended and were passed on */
    CAUSE_RESET,             /* a descriptor failed: `error` has the errno */
    CAUSE_TRUNCATED,         /* the TLS peer's TCP ended without close_notify */
    CAUSE_TLS,               /* OpenSSL refused: `tls_errors` */
    CAUSE_IDLE,              /* no byte for the idle time */
    CAUSE_CLOSE_TIMEOUT,     /* half closed, and no byte for the close time */
    CAUSE_BUSY,              /* no progress of a handshake for the busy time */
    CAUSE_CONNECT_TIMEOUT,
    CAUSE_RENEGOTIATION,     /* the peer asked for what renegotiation = no forbids */
    CAUSE_MEMORY,
    CAUSE_EOF,               /* the peer left during the handshake */
    CAUSE_ASKED,             /* a callback of OpenSSL asked for a pause: tunnel_go_on() */
};

enum decision_kind {
    DECIDED_NOTHING,         /* the tunnel was closed meanwhile */
    DECIDED_ACCEPTED,        /* `listener`, `tunnel`, `peer` */
    DECIDED_STARVED,         /* accept failed for want of descriptors or memory: `listener`, `error` */
    DECIDED_HANDSHAKE,       /* done when `cause` is CAUSE_CLEAN */
    DECIDED_DIAL,
    DECIDED_RELAY,
    DECIDED_QUIET,           /* the last tunnel of a route that was told to `watch` is closed: `listener` has its handle */
    DECIDED_TALK,            /* a side has octets, or took all that was to be sent */
};

#define TALK_NOTHING (-1)    /* no octet now */
#define TALK_FAILED (-2)     /* `cause` and `error` of the tunnel say why */

struct decision {
    uint32_t kind;
    uint32_t cause;
    int32_t error;
    uint32_t listener;
    struct tunnel *tunnel;
};

struct link {                /* intrusive, circular, doubly linked */
    struct link *next;
    struct link *prev;
};

struct socket_option {
    int level;
    int name;
    uint32_t size;
    unsigned char value[20];
};

#define ADDRESS_MAX 112      /* struct sockaddr_un */
#define OPTIONS_MAX 32

/* All tunnels of a service, and the orders for those that go well.  Times as in the operations' functions. */
struct route {
    struct engine *engine;
    struct link tunnels;
    uint32_t handle;
    uint32_t live;
    uint8_t watched;         /* tell Python when `live` comes to 0 */
    uint8_t standing;        /* carry out the orders below */
    uint8_t tolerant;
    uint32_t busy;
    uint32_t connect;
    uint32_t idle;
    uint32_t close;
    uint32_t address_size;
    uint32_t option_count;
    unsigned char address[ADDRESS_MAX];
    struct socket_option options[OPTIONS_MAX];
    SSL_CTX *context;
};

struct tunnel {
    struct watch side[2];
    struct engine *engine;
    struct route *route;
    struct link fellow;      /* the others of the route */
    SSL *ssl;
    void (*tell)(const SSL *ssl, int where, int value); /* whom the info callback tells further, or NULL */
    uint64_t handle;         /* Python's number for it, never given twice */
    uint8_t phase;
    uint8_t secure;          /* the side that speaks TLS */
    uint8_t tolerant;        /* a TCP end without close_notify is clean */
    uint8_t refuse_renegotiation;
    uint8_t flow[2];
    uint8_t first_end;       /* which direction ended first, plus 1 */
    uint8_t cause;
    uint8_t queued;          /* stands in engine->ready */
    uint8_t armed;           /* stands in a wheel */
    uint8_t ordered;         /* goes by the standing orders of its route */
    uint8_t talk_side;       /* talk.c: the side that is spoken to or listened to */
    uint8_t talk_sends;
    uint8_t peer_size;
    unsigned char peer[PEER_MAX];
    int32_t error;
    uint32_t decision;       /* index + 1 of its undelivered decision */
    unsigned long tls_errors[2]; /* first and last of OpenSSL's queue */
    uint64_t delivered[2];   /* plain bytes taken by that side */
    struct outbox owed[2];   /* for that side: sealed records or plain bytes */
    struct outbox held;      /* plain bytes that SSL_write would not take during a renegotiation */
    uint64_t moved_at;       /* ms: when a byte last moved */
    uint64_t started_at;     /* ms: when the operation started */
    uint32_t timeout;        /* ms without progress in this phase; 0 = for ever */
    uint32_t limit;          /* ms for the whole of this phase; 0 = none */
    uint32_t idle_timeout;   /* ms, relay: without a byte; 0 = for ever */
    uint32_t close_timeout;  /* ms, relay: without a byte while half closed; 0 = end at once, UINT32_MAX = for ever */
    uint64_t unsettled;      /* bytes that were not acknowledged at the last look */
    uint32_t settle_step;    /* ms until the next look at the kernel's send queue */
    uint64_t due;            /* tick of the wheel it stands in */
    struct link timer;
    struct link ready;
};

struct listener {
    struct watch watch;
    struct route *route;
    uint32_t handle;
    uint8_t exclusive;       /* shared with other workers: wake one */
};

struct foreign {             /* a ready descriptor of asyncio */
    int fd;
    uint32_t events;
};

#define WHEEL_BITS 10
#define WHEEL_SLOTS (1u << WHEEL_BITS)
#define TICK_SHIFT 4         /* a tick is 16 ms */

struct wheel {
    struct link slot[WHEEL_SLOTS];
    uint64_t used[WHEEL_SLOTS / 64];
};

struct engine {
    int epoll;
    int alarm;               /* timerfd when watched from another loop, else -1 */
    uint64_t now;            /* ms, CLOCK_MONOTONIC */
    uint64_t tick;           /* the last tick that was worked off */
    uint64_t alarm_tick;
    uint32_t timers;
    uint64_t handles;        /* the last one given */
    uint32_t decision_count;
    uint32_t decision_size;
    uint32_t foreign_count;
    struct decision *decisions;
    struct foreign foreign[EVENTS_MAX];
    struct epoll_event events[EVENTS_MAX];
    struct link ready;       /* tunnels with work left over from their last turn */
    struct link dead;        /* closed tunnels, to be freed */
    uint32_t live;
    uint32_t most;           /* tunnels that orders may lead to; beyond them Python is asked */
    unsigned char *opened;   /* plain bytes of the turn */
    unsigned char *sealed;   /* records of the turn */
    uint32_t sealed_size;
    BIO_METHOD *method;
    struct wheel near;
    struct wheel far;
};

/* engine.c */
struct engine *engine_new(int with_alarm);
void engine_free(struct engine *engine);
int engine_run(struct engine *engine, int timeout);
int engine_watch(struct engine *engine, int fd, uint32_t events, int change);
int engine_unwatch(struct engine *engine, int fd);
void engine_queue(struct tunnel *tunnel);
struct decision *engine_decide(struct engine *engine, uint32_t kind);
void tunnel_decide(struct tunnel *tunnel, uint32_t kind, uint32_t cause, int error);
int watch_register(struct engine *engine, struct watch *watch, uint32_t events);
void watch_want_write(struct engine *engine, struct watch *watch);

/* accept.c */
struct listener *listener_open(struct engine *engine, struct route *route, int fd, uint32_t handle, int exclusive);
int listener_pause(struct engine *engine, struct listener *listener);
int listener_resume(struct engine *engine, struct listener *listener);
void listener_close(struct engine *engine, struct listener *listener);
void listener_accept(struct engine *engine, struct listener *listener);
struct tunnel *tunnel_new(struct route *route, int accepted_fd);
void tunnel_close(struct tunnel *tunnel, int reset_accepted, int reset_dialled);
void engine_bury(struct engine *engine);

/* route.c */
struct route *route_new(struct engine *engine, uint32_t handle);
void route_free(struct route *route);
int route_order(struct route *route, SSL_CTX *context, const unsigned char *address, uint32_t address_size,
                const struct socket_option *options, uint32_t option_count);
struct tunnel *route_next(const struct route *route, const struct tunnel *tunnel);
void route_watch(struct route *route);
void route_joined(struct tunnel *tunnel);
void route_left(struct tunnel *tunnel);
int route_accepted(struct tunnel *tunnel);
void tunnel_done(struct tunnel *tunnel, uint32_t kind);

/* dial.c */
int tunnel_dial(struct tunnel *tunnel, const unsigned char *address, uint32_t address_size,
                const unsigned char *local, uint32_t local_size,
                const struct socket_option *options, uint32_t option_count, uint32_t timeout);
void dial_step(struct tunnel *tunnel);
void tunnel_hang_up(struct tunnel *tunnel);
int tunnel_descriptor(const struct tunnel *tunnel, int side);

/* adopt.c */
void watch_adopt(struct watch *watch, int fd, enum watch_kind kind, int family, int terminal);
void tunnel_adopt(struct tunnel *tunnel, int fd, int family, int terminal);
struct tunnel *tunnel_begin(struct route *route, int fd, int family, int terminal);
ssize_t terminal_receive(struct watch *watch, unsigned char *bytes, size_t size);
void side_finish(struct watch *watch);
void tunnel_expect_end(struct tunnel *tunnel, int side);

/* pipes.c */
int pipes_carry(int source, int sink);

/* outbox.c */
int outbox_add(struct outbox *outbox, const void *bytes, size_t size);
void outbox_free(struct outbox *outbox);
static inline size_t outbox_size(const struct outbox *outbox) { return outbox->end - outbox->start; }
ssize_t side_send(struct tunnel *tunnel, int side, const unsigned char *bytes, size_t size);
int side_deliver(struct tunnel *tunnel, int side, const unsigned char *bytes, size_t size);
int side_flush(struct tunnel *tunnel, int side);
ssize_t side_receive(struct tunnel *tunnel, int side, unsigned char *bytes, size_t size);

/* secure.c */
BIO_METHOD *secure_method(void);
int tunnel_handshake(struct tunnel *tunnel, int side, SSL *ssl, uint32_t timeout);
void tunnel_go_on(struct tunnel *tunnel, uint32_t timeout);
void handshake_step(struct tunnel *tunnel);
int secure_flush(struct tunnel *tunnel);
uint32_t secure_failure(struct tunnel *tunnel, int result);
int secure_seal(struct tunnel *tunnel, const unsigned char *bytes, size_t size);
int secure_seal_held(struct tunnel *tunnel);

/* talk.c */
int tunnel_peek(struct tunnel *tunnel, int side, unsigned char *bytes, uint32_t size);
int tunnel_take(struct tunnel *tunnel, int side, uint32_t size);
void tunnel_listen(struct tunnel *tunnel, int side, uint32_t timeout);
int tunnel_say(struct tunnel *tunnel, int side, const unsigned char *bytes, uint32_t size, uint32_t timeout);
void tunnel_part(struct tunnel *tunnel);
void talk_step(struct tunnel *tunnel);

/* relay.c */
int tunnel_relay(struct tunnel *tunnel, uint32_t idle, uint32_t close, int tolerant);
void relay_step(struct tunnel *tunnel);

/* settle.c */
void settle_start(struct tunnel *tunnel, uint32_t cause, int error);
void settle_step(struct tunnel *tunnel);

/* timers.c */
uint64_t clock_ms(void);
void timers_start(struct engine *engine);
void timer_arm(struct tunnel *tunnel, uint64_t when);
void timer_disarm(struct tunnel *tunnel);
void timers_run(struct engine *engine);
int timers_wait(const struct engine *engine);
void timers_set_alarm(struct engine *engine);

static inline void link_clear(struct link *link) { link->next = link->prev = link; }
static inline int link_alone(const struct link *link) { return link->next == link; }
static inline void link_before(struct link *place, struct link *link) {
    link->prev = place->prev;
    link->next = place;
    place->prev->next = link;
    place->prev = link;
}
static inline void link_take(struct link *link) {
    link->prev->next = link->next;
    link->next->prev = link->prev;
    link_clear(link);
}
#define OWNER(pointer, type, member) ((type *)((char *)(pointer) - offsetof(type, member)))

#endif
