/* The epoll loop: waits, lets tunnels take their turns, and returns when Python has something to decide. */
#include "engine.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

static int engine_open(struct engine *engine, int with_alarm) {
    struct epoll_event event = {.events = EPOLLIN};
    engine->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (engine->epoll < 0)
        return -1;
    if (!with_alarm)
        return 0;
    engine->alarm = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    event.data.u64 = ((uint64_t)(uint32_t)engine->alarm << 1) | 1;
    return engine->alarm < 0 ? -1 : epoll_ctl(engine->epoll, EPOLL_CTL_ADD, engine->alarm, &event);
}

/* `with_alarm`: the engine is watched by another loop through its epoll descriptor, and its timers must wake that. */
struct engine *engine_new(int with_alarm) {
    struct engine *engine = calloc(1, sizeof *engine);
    if (!engine)
        return NULL;
    engine->epoll = engine->alarm = -1;
    engine->decision_size = 256;
    engine->opened = malloc(OPENED_SIZE);
    engine->sealed = malloc(SEALED_SIZE);
    engine->decisions = calloc(engine->decision_size, sizeof *engine->decisions);
    engine->method = secure_method();
    link_clear(&engine->ready);
    link_clear(&engine->dead);
    engine->most = UINT32_MAX;
    timers_start(engine);
    if (!engine->opened || !engine->sealed || !engine->decisions || !engine->method
            || engine_open(engine, with_alarm) < 0) {
        engine_free(engine);
        return NULL;
    }
    return engine;
}

/* Every tunnel and listener must have been closed before. */
void engine_free(struct engine *engine) {
    engine_bury(engine);
    if (engine->epoll >= 0)
        close(engine->epoll);
    if (engine->alarm >= 0)
        close(engine->alarm);
    free(engine->opened);
    free(engine->sealed);
    free(engine->decisions);
    free(engine);
}

/* A place for one more decision; NULL when memory is out. */
struct decision *engine_decide(struct engine *engine, uint32_t kind) {
    struct decision *decision;
    if (engine->decision_count == engine->decision_size) {
        size_t size = engine->decision_size * 2 * sizeof *decision;
        decision = realloc(engine->decisions, size);
        if (!decision)
            return NULL;
        engine->decisions = decision;
        engine->decision_size *= 2;
    }
    decision = &engine->decisions[engine->decision_count++];
    decision->kind = kind;
    decision->cause = CAUSE_CLEAN;
    decision->error = 0;
    return decision;
}

/* The tunnel's operation is over: it rests until Python asks for the next one. */
void tunnel_decide(struct tunnel *tunnel, uint32_t kind, uint32_t cause, int error) {
    struct decision *decision = engine_decide(tunnel->engine, kind);
    if (!decision)
        return; /* the phase stays, so the tunnel's timer comes back to it */
    tunnel->phase = PHASE_REST;
    tunnel->ordered = 0;
    tunnel->timeout = tunnel->limit = 0;
    tunnel->decision = tunnel->engine->decision_count;
    decision->tunnel = tunnel;
    decision->cause = cause;
    decision->error = error;
}

/* Give the tunnel a turn before the next wait. */
void engine_queue(struct tunnel *tunnel) {
    if (tunnel->queued)
        return;
    tunnel->queued = 1;
    link_before(&tunnel->engine->ready, &tunnel->ready);
}

int watch_register(struct engine *engine, struct watch *watch, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = watch};
    if (watch->registered)
        return 0;
    if (epoll_ctl(engine->epoll, EPOLL_CTL_ADD, watch->fd, &event) < 0)
        return -errno;
    watch->registered = 1;
    watch->wants_write = (events & EPOLLOUT) != 0;
    return 0;
}

/* Ask to be told when the descriptor takes bytes again; from then on it stays asked. */
void watch_want_write(struct engine *engine, struct watch *watch) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET, .data.ptr = watch};
    watch->writable = 0;
    if (watch->wants_write)
        return;
    watch->wants_write = 1;
    epoll_ctl(engine->epoll, EPOLL_CTL_MOD, watch->fd, &event);
}

/* A descriptor of asyncio, level-triggered; `change` when it is watched already. Returns 0 or -errno. */
int engine_watch(struct engine *engine, int fd, uint32_t events, int change) {
    struct epoll_event event = {.events = events, .data.u64 = ((uint64_t)(uint32_t)fd << 1) | 1};
    return epoll_ctl(engine->epoll, change ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

int engine_unwatch(struct engine *engine, int fd) {
    return epoll_ctl(engine->epoll, EPOLL_CTL_DEL, fd, NULL) < 0 ? -errno : 0;
}

static void tunnel_step(struct tunnel *tunnel) {
    switch (tunnel->phase) {
    case PHASE_HANDSHAKE:
        handshake_step(tunnel);
        break;
    case PHASE_DIAL:
        dial_step(tunnel);
        break;
    case PHASE_RELAY:
        relay_step(tunnel);
        break;
    case PHASE_SETTLE:
        settle_step(tunnel);
        break;
    case PHASE_TALK:
        talk_step(tunnel);
        break;
    }
}

static void watch_event(struct engine *engine, struct watch *watch, uint32_t events) {
    if (watch->kind == WATCH_LISTENER) {
        listener_accept(engine, OWNER(watch, struct listener, watch));
        return;
    }
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        watch->readable = 1;
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        watch->writable = 1;
    if (events & (EPOLLRDHUP | EPOLLHUP))
        watch->hangup = 1;
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI))
        watch->suspect = 1;
    tunnel_step(OWNER(watch, struct tunnel, side[watch->kind - WATCH_ACCEPTED]));
}

static void foreign_event(struct engine *engine, int fd, uint32_t events) {
    uint64_t expirations;
    if (fd == engine->alarm) {
        if (read(fd, &expirations, sizeof expirations) > 0)
            engine->alarm_tick = 0;
        return;
    }
    engine->foreign[engine->foreign_count].fd = fd;
    engine->foreign[engine->foreign_count++].events = events;
}

/* One turn for each tunnel that had work left; those that still have some stand in the queue again. */
static void run_ready(struct engine *engine) {
    struct link list;
    if (link_alone(&engine->ready))
        return;
    list = engine->ready;
    list.next->prev = list.prev->next = &list;
    link_clear(&engine->ready);
    while (!link_alone(&list)) {
        struct tunnel *tunnel = OWNER(list.next, struct tunnel, ready);
        link_take(&tunnel->ready);
        tunnel->queued = 0;
        tunnel_step(tunnel);
    }
}

static int sooner(int a, int b) {
    if (a < 0)
        return b;
    return b < 0 || a < b ? a : b;
}

static int engine_turn(struct engine *engine, int timeout) {
    int count, wait = link_alone(&engine->ready) ? sooner(timeout, timers_wait(engine)) : 0;
    count = epoll_wait(engine->epoll, engine->events, EVENTS_MAX, wait);
    engine->now = clock_ms();
    if (count < 0)
        return -errno;
    for (int i = 0; i < count; i++) {
        struct epoll_event *event = &engine->events[i];
        if (event->data.u64 & 1)
            foreign_event(engine, (int)(event->data.u64 >> 1), event->events);
        else
            watch_event(engine, event->data.ptr, event->events);
    }
    timers_run(engine);
    run_ready(engine);
    engine_bury(engine);
    return 0;
}

/* Move bytes until Python has something to decide, a descriptor of asyncio is ready, `timeout` ms have passed (-1:
 * never) or a signal came.  Decisions and foreign descriptors stand in the engine until the next call.
 * Returns -errno of epoll_wait, else 1 when tunnels wait for a further turn, else 0. */
int engine_run(struct engine *engine, int timeout) {
    uint64_t until;
    int status;
    engine->now = clock_ms();
    until = timeout < 0 ? UINT64_MAX : engine->now + (uint64_t)timeout;
    engine->foreign_count = 0;
    do {
        int left = timeout < 0 ? -1 : (int)(until > engine->now ? until - engine->now : 0);
        status = engine_turn(engine, engine->decision_count ? 0 : left);
    } while (!status && !engine->decision_count && !engine->foreign_count && engine->now < until);
    timers_set_alarm(engine);
    return status < 0 ? status : !link_alone(&engine->ready);
}
