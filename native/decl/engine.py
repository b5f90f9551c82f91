"""What Python sees of the engine (``native/engine.h``)."""

from __future__ import annotations

INCLUDES = """
#include "engine.h"
"""

TYPES = """
struct route;

struct tunnel {
    uint64_t handle;
    uint8_t phase;
    uint8_t secure;
    uint8_t flow[2];
    uint8_t first_end;
    uint8_t cause;
    int32_t error;
    uint8_t peer_size;
    unsigned char peer[...];
    struct route *route;
    uint64_t delivered[2];
    unsigned long tls_errors[2];
    uint64_t moved_at;
    ...;
};

struct listener { uint32_t handle; ...; };

struct route {
    uint32_t handle;
    uint32_t live;
    uint8_t standing;
    uint8_t tolerant;
    uint32_t busy;
    uint32_t connect;
    uint32_t idle;
    uint32_t close;
    ...;
};

struct decision {
    uint32_t kind;
    uint32_t cause;
    int32_t error;
    uint32_t listener;
    struct tunnel *tunnel;
    ...;
};

struct socket_option {
    int level;
    int name;
    uint32_t size;
    unsigned char value[...];
    ...;
};

struct foreign { int fd; uint32_t events; ...; };

struct engine {
    int epoll;
    uint64_t now;
    uint64_t handles;
    uint32_t live;
    uint32_t most;
    uint32_t decision_count;
    uint32_t foreign_count;
    struct decision *decisions;
    struct foreign foreign[...];
    ...;
};
"""

FUNCTIONS = """
struct engine *engine_new(int with_alarm);
void engine_free(struct engine *engine);
int engine_run(struct engine *engine, int timeout);
void timers_set_alarm(struct engine *engine);
int engine_watch(struct engine *engine, int fd, uint32_t events, int change);
int engine_unwatch(struct engine *engine, int fd);

struct listener *listener_open(struct engine *engine, struct route *route, int fd, uint32_t handle,
                               int exclusive);
int listener_resume(struct engine *engine, struct listener *listener);
void listener_close(struct engine *engine, struct listener *listener);

struct route *route_new(struct engine *engine, uint32_t handle);
void route_free(struct route *route);
int route_order(struct route *route, SSL_CTX *context, const unsigned char *address, uint32_t address_size,
                const struct socket_option *options, uint32_t option_count);
struct tunnel *route_next(const struct route *route, const struct tunnel *tunnel);
void route_watch(struct route *route);

struct tunnel *tunnel_new(struct route *route, int accepted_fd);
struct tunnel *tunnel_begin(struct route *route, int fd, int family, int terminal);
void tunnel_adopt(struct tunnel *tunnel, int fd, int family, int terminal);
int pipes_carry(int source, int sink);
void tunnel_expect_end(struct tunnel *tunnel, int side);
int tunnel_handshake(struct tunnel *tunnel, int side, SSL *ssl, uint32_t timeout);
void tunnel_go_on(struct tunnel *tunnel, uint32_t timeout);
int tunnel_dial(struct tunnel *tunnel, const unsigned char *address, uint32_t address_size,
                const unsigned char *local, uint32_t local_size,
                const struct socket_option *options, uint32_t option_count, uint32_t timeout);
void tunnel_hang_up(struct tunnel *tunnel);
int tunnel_descriptor(const struct tunnel *tunnel, int side);
int tunnel_peek(struct tunnel *tunnel, int side, unsigned char *bytes, uint32_t size);
int tunnel_take(struct tunnel *tunnel, int side, uint32_t size);
void tunnel_listen(struct tunnel *tunnel, int side, uint32_t timeout);
int tunnel_say(struct tunnel *tunnel, int side, const unsigned char *bytes, uint32_t size, uint32_t timeout);
void tunnel_part(struct tunnel *tunnel);
int tunnel_relay(struct tunnel *tunnel, uint32_t idle, uint32_t close, int tolerant);
void tunnel_close(struct tunnel *tunnel, int reset_accepted, int reset_dialled);
"""

CUSTOM = ""
