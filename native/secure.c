/* The TLS side: its BIO, the handshake, and what OpenSSL's failures mean.
 *
 * The BIO reads from the socket straight into OpenSSL's buffer, and writes into the engine's `sealed` scratch, or behind
 * what the peer already owes us.  secure_flush() sends the scratch; whoever let OpenSSL write calls it before the turn
 * of the tunnel ends.  So a write by OpenSSL never waits and is never retried (SSL_write(3), "SSL_ERROR_WANT_WRITE").
 */
#include "engine.h"

#include <errno.h>
#include <string.h>
#include <openssl/bio.h>
#include <openssl/err.h>

static int bio_write(BIO *bio, const char *bytes, int size) {
    struct tunnel *tunnel = BIO_get_data(bio);
    struct engine *engine = tunnel->engine;
    struct watch *watch = &tunnel->side[tunnel->secure];
    if (watch->error || size < 0)
        return -1;
    if (outbox_size(&tunnel->owed[tunnel->secure]) || engine->sealed_size + (size_t)size > SEALED_SIZE) {
        if (secure_flush(tunnel) < 0 || side_deliver(tunnel, tunnel->secure, (const void *)bytes, (size_t)size) < 0)
            return -1;
        return size;
    }
    memcpy(engine->sealed + engine->sealed_size, bytes, (size_t)size);
    engine->sealed_size += (uint32_t)size;
    return size;
}

static int bio_read(BIO *bio, char *bytes, int size) {
    struct tunnel *tunnel = BIO_get_data(bio);
    struct watch *watch = &tunnel->side[tunnel->secure];
    ssize_t count = side_receive(tunnel, tunnel->secure, (unsigned char *)bytes, (size_t)size);
    BIO_clear_retry_flags(bio);
    if (count < 0 && !watch->error)
        BIO_set_retry_read(bio);
    return (int)count;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer) {
    struct tunnel *tunnel = BIO_get_data(bio);
    switch (command) {
    case BIO_CTRL_FLUSH:
        return 1;
    case BIO_CTRL_EOF:
        return tunnel->side[tunnel->secure].eof;
    default:
        return 0;
    }
}

/* One for the process; NULL when memory is out. */
BIO_METHOD *secure_method(void) {
    static BIO_METHOD *method;
    if (method)
        return method;
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "culvert");
    if (method) {
        BIO_meth_set_write(method, bio_write);
        BIO_meth_set_read(method, bio_read);
        BIO_meth_set_ctrl(method, bio_ctrl);
    }
    return method;
}

/* Send what OpenSSL has written in this turn.  Returns 0, or -1 when the side failed. */
int secure_flush(struct tunnel *tunnel) {
    struct engine *engine = tunnel->engine;
    uint32_t size = engine->sealed_size;
    engine->sealed_size = 0;
    return size ? side_deliver(tunnel, tunnel->secure, engine->sealed, size) : 0;
}

static void keep_errors(struct tunnel *tunnel) {
    tunnel->tls_errors[0] = ERR_get_error();
    tunnel->tls_errors[1] = tunnel->tls_errors[0];
    for (unsigned long error = tunnel->tls_errors[0]; error; error = ERR_get_error())
        tunnel->tls_errors[1] = error;
}

/* Why OpenSSL failed with `result`: a cause, or CAUSE_CLEAN when it only wants more bytes. */
uint32_t secure_failure(struct tunnel *tunnel, int result) {
    struct watch *watch = &tunnel->side[tunnel->secure];
    int error = SSL_get_error(tunnel->ssl, result);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        return CAUSE_CLEAN;
    if (error == SSL_ERROR_WANT_CLIENT_HELLO_CB)
        return CAUSE_ASKED;
    if (tunnel->refuse_renegotiation == 2)
        return CAUSE_RENEGOTIATION;
    if (watch->error == ENOMEM)
        return CAUSE_MEMORY;
    if (watch->error)
        return CAUSE_RESET;
    keep_errors(tunnel);
    return watch->eof ? CAUSE_TRUNCATED : CAUSE_TLS;
}

/* Give plain bytes to OpenSSL; what it will not take during a renegotiation is held.  Returns 0, or -1: the TLS side
 * failed. */
int secure_seal(struct tunnel *tunnel, const unsigned char *bytes, size_t size) {
    size_t count;
    ERR_clear_error();
    while (size && SSL_write_ex(tunnel->ssl, bytes, size, &count)) {
        tunnel->delivered[tunnel->secure] += count;
        bytes += count;
        size -= count;
    }
    return size && (secure_failure(tunnel, 0) != CAUSE_CLEAN || outbox_add(&tunnel->held, bytes, size) < 0) ? -1 : 0;
}

int secure_seal_held(struct tunnel *tunnel) {
    struct outbox held = tunnel->held;
    int status;
    if (!outbox_size(&held))
        return 0;
    tunnel->held = (struct outbox){0};
    status = secure_seal(tunnel, held.bytes + held.start, outbox_size(&held));
    outbox_free(&held);
    return status < 0 ? -1 : secure_flush(tunnel);
}

/* With SSL_OP_NO_RENEGOTIATION OpenSSL answers a second ClientHello, or a HelloRequest, by a warning and goes on; we do
 * not (RFC 5246, 7.2.2, no_renegotiation). */
static void refuse_renegotiation(const SSL *ssl, int where, int alert) {
    struct tunnel *tunnel = BIO_get_data(SSL_get_rbio(ssl));
    if ((where & SSL_CB_WRITE_ALERT) == SSL_CB_WRITE_ALERT && (alert & 0xff) == SSL_AD_NO_RENEGOTIATION)
        tunnel->refuse_renegotiation = 2;
    if (tunnel->tell)
        tunnel->tell(ssl, where, alert);
}

/* The callback that was there before is called from ours.  A server name may have brought the option along. */
static void watch_renegotiation(struct tunnel *tunnel) {
    if (tunnel->refuse_renegotiation || !(SSL_get_options(tunnel->ssl) & SSL_OP_NO_RENEGOTIATION))
        return;
    tunnel->refuse_renegotiation = 1;
    tunnel->tell = SSL_get_info_callback(tunnel->ssl);
    SSL_set_info_callback(tunnel->ssl, refuse_renegotiation);
}

static void handshake_phase(struct tunnel *tunnel, uint32_t timeout) {
    tunnel->phase = PHASE_HANDSHAKE;
    tunnel->moved_at = tunnel->engine->now;
    tunnel->timeout = timeout;
    tunnel->limit = timeout < UINT32_MAX / 4 ? timeout * 4 : UINT32_MAX;
    if (timeout)
        timer_arm(tunnel, tunnel->engine->now + timeout);
}

/* Start a handshake on one side with `ssl`, whose role is set; the tunnel owns it from now on.  `timeout`: ms without
 * progress; the whole handshake may take four times that.  0, or -errno when it could not be started. */
int tunnel_handshake(struct tunnel *tunnel, int side, SSL *ssl, uint32_t timeout) {
    struct engine *engine = tunnel->engine;
    BIO *bio = BIO_new(engine->method);
    tunnel->ssl = ssl;
    tunnel->secure = (uint8_t)side;
    if (!bio)
        return -ENOMEM;
    BIO_set_data(bio, tunnel);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    watch_renegotiation(tunnel);
    tunnel->started_at = engine->now;
    handshake_phase(tunnel, timeout);
    if (watch_register(engine, &tunnel->side[side], EPOLLIN | EPOLLRDHUP | EPOLLPRI | EPOLLET) < 0)
        return -errno;
    if (!SSL_is_server(ssl) || tunnel->side[side].readable)
        handshake_step(tunnel);
    return 0;
}

static uint32_t handshake_cause(struct tunnel *tunnel, int result) {
    uint32_t cause = result == 1 ? CAUSE_CLEAN : secure_failure(tunnel, result);
    if (secure_flush(tunnel) < 0 && cause == CAUSE_CLEAN)
        return CAUSE_RESET;
    return cause == CAUSE_TRUNCATED ? CAUSE_EOF : cause;
}

void handshake_step(struct tunnel *tunnel) {
    int result;
    uint32_t cause;
    if (side_flush(tunnel, tunnel->secure) < 0) {
        tunnel_decide(tunnel, DECIDED_HANDSHAKE, CAUSE_RESET, tunnel->side[tunnel->secure].error);
        return;
    }
    ERR_clear_error();
    result = SSL_do_handshake(tunnel->ssl);
    cause = handshake_cause(tunnel, result);
    if (cause != CAUSE_CLEAN)
        tunnel_decide(tunnel, DECIDED_HANDSHAKE, cause, tunnel->side[tunnel->secure].error);
    else if (result == 1) {
        watch_renegotiation(tunnel);
        tunnel_done(tunnel, DECIDED_HANDSHAKE);
    }
}

/* Go on with a handshake that ended its last step with CAUSE_ASKED; `timeout` as before. */
void tunnel_go_on(struct tunnel *tunnel, uint32_t timeout) {
    handshake_phase(tunnel, timeout);
    handshake_step(tunnel);
}
