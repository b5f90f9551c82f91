/* What is said on a side before the relay: a few octets at a time, at Python's word.
 *
 * Octets are looked at first (tunnel_peek) and then taken, exactly as many as the protocol has used (tunnel_take), so
 * that whoever comes next, a handshake or the relay, finds the rest where it looks for it: in the kernel, or in OpenSSL
 * once the side speaks TLS.  What is sent here is no traffic of the tunnel and is not counted.
 */
#include "engine.h"

#include <errno.h>
#include <openssl/err.h>

static int speaks_tls(const struct tunnel *tunnel, int side) {
    return tunnel->ssl && tunnel->secure == side;
}

static int talk_failed(struct tunnel *tunnel, int side, uint32_t cause) {
    tunnel->cause = (uint8_t)cause;
    tunnel->error = tunnel->side[side].error;
    return TALK_FAILED;
}

/* A side that was not registered may have octets already; only EAGAIN tells that it has none. */
static int talk_watch(struct tunnel *tunnel, int side) {
    struct watch *watch = &tunnel->side[side];
    int status;
    if (watch->registered)
        return 0;
    status = watch_register(tunnel->engine, watch, EPOLLIN | EPOLLRDHUP | EPOLLPRI | EPOLLET);
    watch->readable = 1;
    if (status < 0)
        watch->error = -status;
    return status;
}

static ssize_t peek_plain(struct tunnel *tunnel, int side, unsigned char *bytes, size_t size) {
    struct watch *watch = &tunnel->side[side];
    ssize_t count;
    if (watch->error)
        return talk_failed(tunnel, side, CAUSE_RESET);
    if (!watch->readable)
        return TALK_NOTHING;
    do
        count = recv(watch->fd, bytes, size, MSG_DONTWAIT | MSG_PEEK);
    while (count < 0 && errno == EINTR);
    if (count >= 0)
        return count;
    if (errno == EAGAIN) {
        watch->readable = 0;
        return TALK_NOTHING;
    }
    watch->error = errno;
    return talk_failed(tunnel, side, CAUSE_RESET);
}

/* Whatever OpenSSL read, it may have had to answer: the answer goes out too. */
static ssize_t peek_secure(struct tunnel *tunnel, unsigned char *bytes, size_t size) {
    size_t count = 0;
    uint32_t cause;
    int ended;
    ERR_clear_error();
    if (SSL_peek_ex(tunnel->ssl, bytes, size, &count))
        return (ssize_t)count;
    ended = SSL_get_error(tunnel->ssl, 0) == SSL_ERROR_ZERO_RETURN;
    cause = ended ? CAUSE_CLEAN : secure_failure(tunnel, 0);
    if (secure_flush(tunnel) < 0 && cause == CAUSE_CLEAN)
        cause = CAUSE_RESET;
    if (ended || cause == CAUSE_TRUNCATED)
        return 0;
    return cause == CAUSE_CLEAN ? TALK_NOTHING : talk_failed(tunnel, tunnel->secure, cause);
}

/* Look at what a side has sent.  A number of octets, 0 at its end, TALK_NOTHING, or TALK_FAILED: see `cause`. */
int tunnel_peek(struct tunnel *tunnel, int side, unsigned char *bytes, uint32_t size) {
    if (talk_watch(tunnel, side) < 0)
        return talk_failed(tunnel, side, CAUSE_RESET);
    return (int)(speaks_tls(tunnel, side) ? peek_secure(tunnel, bytes, size) : peek_plain(tunnel, side, bytes, size));
}

/* Take octets that were looked at.  Returns 0 or TALK_FAILED. */
int tunnel_take(struct tunnel *tunnel, int side, uint32_t size) {
    unsigned char *scratch = tunnel->engine->opened;
    size_t count = 0;
    if (size > OPENED_SIZE)
        return talk_failed(tunnel, side, CAUSE_MEMORY);
    while (size) {
        if (speaks_tls(tunnel, side)) {
            if (!SSL_read_ex(tunnel->ssl, scratch, size, &count))
                return talk_failed(tunnel, side, CAUSE_TLS);
        } else {
            ssize_t taken = recv(tunnel->side[side].fd, scratch, size, MSG_DONTWAIT);
            if (taken <= 0)
                return talk_failed(tunnel, side, CAUSE_RESET);
            count = (size_t)taken;
        }
        size -= (uint32_t)count;
    }
    return 0;
}

static void talk_start(struct tunnel *tunnel, int side, int sends, uint32_t timeout) {
    tunnel->phase = PHASE_TALK;
    tunnel->talk_side = (uint8_t)side;
    tunnel->talk_sends = (uint8_t)sends;
    tunnel->started_at = tunnel->engine->now;
    tunnel->timeout = 0;
    tunnel->limit = timeout;
    if (timeout)
        timer_arm(tunnel, tunnel->engine->now + timeout);
}

/* Wait until tunnel_peek() has something to tell, for `timeout` ms in all, 0 = for ever; a decision follows. */
void tunnel_listen(struct tunnel *tunnel, int side, uint32_t timeout) {
    talk_start(tunnel, side, 0, timeout);
}

/* Send on what the side is owed.  How much is left, or TALK_FAILED. */
static int talk_flush(struct tunnel *tunnel, int side) {
    int owed = side_flush(tunnel, side);
    if (owed == 0 && speaks_tls(tunnel, side) && secure_seal_held(tunnel) < 0)
        owed = -1;
    tunnel->delivered[ACCEPTED] = tunnel->delivered[DIALLED] = 0;
    if (owed < 0)
        return talk_failed(tunnel, side, tunnel->side[side].error ? CAUSE_RESET : CAUSE_TLS);
    return (int)(outbox_size(&tunnel->owed[side]) + outbox_size(&tunnel->held));
}

/* Send octets.  Returns 0 when the kernel has them all, 1 when a decision follows after at most `timeout` ms, or
 * TALK_FAILED. */
int tunnel_say(struct tunnel *tunnel, int side, const unsigned char *bytes, uint32_t size, uint32_t timeout) {
    int status = talk_watch(tunnel, side);
    if (status == 0 && speaks_tls(tunnel, side))
        status = secure_seal(tunnel, bytes, size) < 0 || secure_flush(tunnel) < 0 ? -1 : 0;
    else if (status == 0)
        status = side_deliver(tunnel, side, bytes, size);
    if (status < 0)
        return talk_failed(tunnel, side, tunnel->side[side].error ? CAUSE_RESET : CAUSE_TLS);
    status = talk_flush(tunnel, side);
    if (status <= 0)
        return status;
    talk_start(tunnel, side, 1, timeout);
    return 1;
}

/* End a talk inside TLS in good order: our close_notify goes out if the peer takes it now. */
void tunnel_part(struct tunnel *tunnel) {
    if (!tunnel->ssl || !SSL_is_init_finished(tunnel->ssl))
        return;
    ERR_clear_error();
    SSL_shutdown(tunnel->ssl);
    ERR_clear_error();
    secure_flush(tunnel);
}

void talk_step(struct tunnel *tunnel) {
    unsigned char octet;
    int side = tunnel->talk_side, status = talk_flush(tunnel, side);
    if (status == 0 && !tunnel->talk_sends)
        status = tunnel_peek(tunnel, side, &octet, 1);
    else if (status > 0)
        status = TALK_NOTHING;
    if (status == TALK_FAILED)
        tunnel_decide(tunnel, DECIDED_TALK, tunnel->cause, tunnel->error);
    else if (status != TALK_NOTHING)
        tunnel_decide(tunnel, DECIDED_TALK, CAUSE_CLEAN, 0);
}
