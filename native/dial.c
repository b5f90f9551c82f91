/* Connecting to a far end. */
#include "engine.h"

#include <errno.h>
#include <unistd.h>

static int dial_prepare(int fd, const unsigned char *local, uint32_t local_size,
                        const struct socket_option *options, uint32_t option_count) {
    for (uint32_t i = 0; i < option_count; i++)
        if (setsockopt(fd, options[i].level, options[i].name, options[i].value, options[i].size) < 0
                && errno != EOPNOTSUPP)
            return -errno;
    if (local_size && bind(fd, (const void *)local, local_size) < 0)
        return -errno;
    return 0;
}

/* Connect to a packed struct sockaddr.  `options` are set and `local` is bound before; `timeout` is in ms, 0 = for ever.
 * Returns 0 when a decision will follow, or -errno when this address failed at once; then another may be dialled. */
int tunnel_dial(struct tunnel *tunnel, const unsigned char *address, uint32_t address_size,
                const unsigned char *local, uint32_t local_size,
                const struct socket_option *options, uint32_t option_count, uint32_t timeout) {
    struct engine *engine = tunnel->engine;
    const struct sockaddr *to = (const void *)address;
    struct watch fresh = {.kind = WATCH_DIALLED, .local = to->sa_family == AF_UNIX};
    int status;
    fresh.fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fresh.fd < 0)
        return -errno;
    status = dial_prepare(fresh.fd, local, local_size, options, option_count);
    if (!status && connect(fresh.fd, to, address_size) < 0 && errno != EINPROGRESS)
        status = -errno;
    if (status) {
        close(fresh.fd);
        return status;
    }
    tunnel->side[DIALLED] = fresh;
    tunnel->phase = PHASE_DIAL;
    tunnel->started_at = tunnel->moved_at = engine->now;
    tunnel->timeout = tunnel->limit = timeout;
    if (timeout)
        timer_arm(tunnel, engine->now + timeout);
    return watch_register(engine, &tunnel->side[DIALLED], EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET);
}

/* The first edge of a connecting socket says how it went (connect(2), EINPROGRESS).  A far end that was reached and has
 * reset the connection since then is no failed dial: what it sent before is still to be read. */
void dial_step(struct tunnel *tunnel) {
    struct watch *watch = &tunnel->side[DIALLED];
    int error = 0;
    socklen_t size = sizeof error;
    if (!watch->writable)
        return;
    if (watch->suspect && getsockopt(watch->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        error = errno;
    watch->error = error;
    if (error && error != ECONNRESET)
        tunnel_decide(tunnel, DECIDED_DIAL, CAUSE_RESET, error);
    else
        tunnel_done(tunnel, DECIDED_DIAL);
}

/* Give the dialled connection up, so that another address can be dialled. */
void tunnel_hang_up(struct tunnel *tunnel) {
    struct watch *watch = &tunnel->side[DIALLED];
    if (watch->fd < 0)
        return;
    close(watch->fd);
    *watch = (struct watch){.fd = -1, .kind = WATCH_DIALLED};
}

int tunnel_descriptor(const struct tunnel *tunnel, int side) {
    return tunnel->side[side].fd;
}
