/* A service's tunnels, and its standing orders: what is done with each of them while all goes well. */
#include "engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct route *route_new(struct engine *engine, uint32_t handle) {
    struct route *route = calloc(1, sizeof *route);
    if (!route)
        return NULL;
    route->engine = engine;
    route->handle = handle;
    link_clear(&route->tunnels);
    return route;
}

/* Its tunnels and listeners must be closed. */
void route_free(struct route *route) {
    SSL_CTX_free(route->context);
    free(route);
}

/* From now on: handshake as a server with `context`, dial `address`, relay, close; the times of the route are set
 * before.  Returns 0, or -errno when the orders are too long. */
int route_order(struct route *route, SSL_CTX *context, const unsigned char *address, uint32_t address_size,
                const struct socket_option *options, uint32_t option_count) {
    if (address_size > ADDRESS_MAX || option_count > OPTIONS_MAX)
        return -E2BIG;
    SSL_CTX_up_ref(context);
    SSL_CTX_free(route->context); /* of earlier orders */
    route->context = context;
    route->address_size = address_size;
    memcpy(route->address, address, address_size);
    route->option_count = option_count;
    memcpy(route->options, options, option_count * sizeof *options);
    route->standing = 1;
    return 0;
}

/* The tunnel after `tunnel`, or the first one; NULL behind the last. */
struct tunnel *route_next(const struct route *route, const struct tunnel *tunnel) {
    const struct link *next = tunnel ? tunnel->fellow.next : route->tunnels.next;
    return next == &route->tunnels ? NULL : OWNER(next, struct tunnel, fellow);
}

static void tell_quiet(struct route *route) {
    struct decision *decision;
    if (!route->watched || route->live)
        return;
    route->watched = 0;
    decision = engine_decide(route->engine, DECIDED_QUIET);
    if (decision)
        decision->listener = route->handle;
}

/* Decide DECIDED_QUIET when no tunnel is left, perhaps at once. */
void route_watch(struct route *route) {
    route->watched = 1;
    tell_quiet(route);
}

void route_joined(struct tunnel *tunnel) {
    link_before(&tunnel->route->tunnels, &tunnel->fellow);
    tunnel->route->live++;
    tunnel->engine->live++;
}

void route_left(struct tunnel *tunnel) {
    link_take(&tunnel->fellow);
    tunnel->route->live--;
    tunnel->engine->live--;
    tell_quiet(tunnel->route);
}

/* Start a new connection by the orders.  Returns 0 when it is Python's to decide. */
int route_accepted(struct tunnel *tunnel) {
    struct route *route = tunnel->route;
    SSL *ssl;
    int status;
    if (!route->standing || tunnel->engine->live > tunnel->engine->most)
        return 0;
    ssl = SSL_new(route->context);
    if (!ssl)
        return 0;
    SSL_set_accept_state(ssl);
    tunnel->ordered = 1;
    status = tunnel_handshake(tunnel, ACCEPTED, ssl, route->busy);
    if (status < 0)
        tunnel_decide(tunnel, DECIDED_HANDSHAKE, CAUSE_RESET, -status);
    return 1;
}

static void order_dial(struct tunnel *tunnel) {
    const struct route *route = tunnel->route;
    int status = tunnel_dial(tunnel, route->address, route->address_size, NULL, 0, route->options, route->option_count,
                             route->connect);
    if (status < 0)
        tunnel_decide(tunnel, DECIDED_DIAL, CAUSE_RESET, -status);
}

static void order_relay(struct tunnel *tunnel) {
    const struct route *route = tunnel->route;
    int status = tunnel_relay(tunnel, route->idle, route->close, route->tolerant);
    if (status < 0)
        tunnel_decide(tunnel, DECIDED_RELAY, CAUSE_RESET, -status);
}

/* An operation went well: go on by the orders, or let Python decide. */
void tunnel_done(struct tunnel *tunnel, uint32_t kind) {
    if (!tunnel->ordered)
        tunnel_decide(tunnel, kind, CAUSE_CLEAN, 0);
    else if (kind == DECIDED_HANDSHAKE)
        order_dial(tunnel);
    else if (kind == DECIDED_DIAL)
        order_relay(tunnel);
    else
        tunnel_close(tunnel, 0, 0);
}
