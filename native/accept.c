/* Listeners, and the birth and the end of a tunnel. */
#include "engine.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* `exclusive`: the descriptor is shared with other workers, and one of them is enough.  NULL and errno on failure. */
struct listener *listener_open(struct engine *engine, struct route *route, int fd, uint32_t handle, int exclusive) {
    struct listener *listener = calloc(1, sizeof *listener);
    if (!listener)
        return NULL;
    listener->route = route;
    listener->watch.fd = fd;
    listener->watch.kind = WATCH_LISTENER;
    listener->handle = handle;
    listener->exclusive = (uint8_t)exclusive;
    if (listener_resume(engine, listener) < 0) {
        free(listener);
        return NULL;
    }
    return listener;
}

int listener_resume(struct engine *engine, struct listener *listener) {
    return watch_register(engine, &listener->watch, listener->exclusive ? EPOLLIN | EPOLLEXCLUSIVE : EPOLLIN);
}

int listener_pause(struct engine *engine, struct listener *listener) {
    if (!listener->watch.registered)
        return 0;
    listener->watch.registered = 0;
    return engine_unwatch(engine, listener->watch.fd);
}

/* The queue of connections survives where another process holds the same socket. */
void listener_close(struct engine *engine, struct listener *listener) {
    for (uint32_t i = 0; i < engine->decision_count; i++) {
        struct decision *decision = &engine->decisions[i];
        if (decision->kind == DECIDED_STARVED && decision->listener == listener->handle)
            decision->kind = DECIDED_NOTHING;
    }
    listener_pause(engine, listener);
    close(listener->watch.fd);
    free(listener);
}

struct tunnel *tunnel_new(struct route *route, int accepted_fd) {
    struct tunnel *tunnel = calloc(1, sizeof *tunnel);
    if (!tunnel)
        return NULL;
    tunnel->engine = route->engine;
    tunnel->route = route;
    tunnel->handle = ++route->engine->handles;
    tunnel->side[ACCEPTED].fd = accepted_fd;
    tunnel->side[ACCEPTED].kind = WATCH_ACCEPTED;
    tunnel->side[DIALLED].fd = -1;
    tunnel->side[DIALLED].kind = WATCH_DIALLED;
    tunnel->side[ACCEPTED].writable = 1;
    link_clear(&tunnel->timer);
    link_clear(&tunnel->ready);
    route_joined(tunnel);
    return tunnel;
}

static struct tunnel *accept_tunnel(struct listener *listener) {
    struct sockaddr_storage peer;
    socklen_t size = sizeof peer;
    struct tunnel *tunnel;
    int fd = accept4(listener->watch.fd, (struct sockaddr *)&peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return NULL;
    tunnel = tunnel_new(listener->route, fd);
    if (!tunnel) {
        close(fd);
        errno = ENOMEM;
        return NULL;
    }
    tunnel->side[ACCEPTED].local = peer.ss_family == AF_UNIX;
    tunnel->peer_size = peer.ss_family == AF_UNIX ? sizeof peer.ss_family : size < PEER_MAX ? size : PEER_MAX;
    memcpy(tunnel->peer, &peer, tunnel->peer_size);
    return tunnel;
}

/* Returns 0, or -errno of accept4(2). */
static int accept_one(struct engine *engine, struct listener *listener) {
    struct decision *decision;
    struct tunnel *tunnel = accept_tunnel(listener);
    if (!tunnel)
        return -errno;
    if (route_accepted(tunnel))
        return 0;
    decision = engine_decide(engine, DECIDED_ACCEPTED);
    if (!decision) {
        tunnel_close(tunnel, 1, 0);
        return -ENOMEM;
    }
    tunnel->decision = engine->decision_count;
    decision->tunnel = tunnel;
    decision->listener = listener->handle;
    return 0;
}

/* One connection: where more wait, the level-triggered event comes again with the next batch, which costs less than
 * finding the queue empty each time.  Errors of one connection (ECONNABORTED and the network's own, accept(2)) are no
 * errors of the listener. */
void listener_accept(struct engine *engine, struct listener *listener) {
    struct decision *decision;
    int status = accept_one(engine, listener);
    if (status != -EMFILE && status != -ENFILE && status != -ENOBUFS && status != -ENOMEM)
        return;
    listener_pause(engine, listener);
    decision = engine_decide(engine, DECIDED_STARVED);
    if (!decision)
        return;
    decision->listener = listener->handle;
    decision->error = -status;
}

/* Close so that the peer sees a clean end even where it sent more than we read: unread bytes would turn our FIN into a
 * reset, which may overtake the last bytes. */
static void side_discard(struct tunnel *tunnel, struct watch *watch) {
    if (watch->kept || (watch->readable && !watch->eof))
        for (int i = 0; i < 16; i++)
            if (recv(watch->fd, tunnel->engine->opened, OPENED_SIZE, MSG_DONTWAIT) <= 0)
                return;
}

static void side_close(struct tunnel *tunnel, struct watch *watch, int reset) {
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    if (watch->fd < 0)
        return;
    if (!reset)
        side_discard(tunnel, watch);
    else if (!watch->local)
        setsockopt(watch->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    close(watch->fd);
}

/* End a tunnel in whatever phase.  `reset_*`: tell that side by a reset instead of a clean end. */
void tunnel_close(struct tunnel *tunnel, int reset_accepted, int reset_dialled) {
    struct engine *engine = tunnel->engine;
    if (tunnel->decision && tunnel->decision <= engine->decision_count
            && engine->decisions[tunnel->decision - 1].tunnel == tunnel)
        engine->decisions[tunnel->decision - 1].kind = DECIDED_NOTHING;
    timer_disarm(tunnel);
    side_close(tunnel, &tunnel->side[ACCEPTED], reset_accepted);
    side_close(tunnel, &tunnel->side[DIALLED], reset_dialled);
    SSL_free(tunnel->ssl);
    outbox_free(&tunnel->owed[ACCEPTED]);
    outbox_free(&tunnel->owed[DIALLED]);
    outbox_free(&tunnel->held);
    tunnel->phase = PHASE_OVER;
    route_left(tunnel);
    link_take(&tunnel->ready);
    link_before(&engine->dead, &tunnel->ready);
}

/* Free the tunnels that were closed in this turn; events that lie behind them in the batch are past by now. */
void engine_bury(struct engine *engine) {
    while (!link_alone(&engine->dead)) {
        struct tunnel *tunnel = OWNER(engine->dead.next, struct tunnel, ready);
        link_take(&tunnel->ready);
        free(tunnel);
    }
}
