/* The relay: plain bytes one way, records the other, and how each direction ends.
 *
 * A direction is named by the side it reads from.  Its life: OPEN (reading) - ENDED (the source said so: FIN, or
 * close_notify) - PASSED (everything before was delivered, and then the end: close_notify, or shutdown(SHUT_WR)).  The
 * other direction goes on meanwhile.  A source that fails is CUT: its end is never passed on as a clean one; the tunnel
 * settles and both sides are reset.  When a sink fails, the direction towards it is DROPPED; what the failed side had
 * sent before may still lie in our kernel, so the direction from it goes on until it ends or is cut, which follows at
 * once.
 */
#include "engine.h"

#include <errno.h>
#include <openssl/err.h>

#define CLOSE_NOTIFY_MOST 64 /* a record with one alert is never longer */

static int nothing_owed(const struct tunnel *tunnel) {
    return !outbox_size(&tunnel->owed[ACCEPTED]) && !outbox_size(&tunnel->owed[DIALLED])
        && !outbox_size(&tunnel->held);
}

static void flow_end(struct tunnel *tunnel, int side, enum flow flow) {
    tunnel->flow[side] = (uint8_t)flow;
    if (!tunnel->first_end)
        tunnel->first_end = (uint8_t)(side + 1);
}

static void flow_cut(struct tunnel *tunnel, int side, uint32_t cause) {
    flow_end(tunnel, side, FLOW_CUT);
    tunnel->cause = (uint8_t)cause;
    tunnel->error = tunnel->side[side].error;
}

/* The sink of the direction that reads from `side` failed with `lost` bytes on the way to it.  Nothing was lost when only
 * our close_notify was. */
static void flow_drop(struct tunnel *tunnel, int side, size_t lost) {
    struct outbox *owed = &tunnel->owed[!side];
    if (tunnel->flow[side] == FLOW_CUT)
        return;
    if (tunnel->flow[side] != FLOW_PASSED || lost > CLOSE_NOTIFY_MOST) {
        flow_end(tunnel, side, FLOW_DROPPED);
        tunnel->error = tunnel->side[!side].error;
    }
    outbox_free(owed);
}

/* Whether the direction from the plain side can take more: nothing is owed to the TLS peer. */
static int secure_free(struct tunnel *tunnel) {
    size_t before = outbox_size(&tunnel->owed[tunnel->secure]);
    int owed = side_flush(tunnel, tunnel->secure);
    if (owed > 0)
        return 0;
    if (owed < 0 || secure_seal_held(tunnel) < 0) {
        flow_drop(tunnel, !tunnel->secure, before);
        return 0;
    }
    return !outbox_size(&tunnel->held) && !outbox_size(&tunnel->owed[tunnel->secure]);
}

/* Read the plain side until the scratch is full or it has no more, and seal what came.  Returns the number of bytes. */
static size_t seal_some(struct tunnel *tunnel) {
    int plain = !tunnel->secure;
    size_t fill = 0;
    ssize_t count = 0;
    while (fill < OPENED_SIZE && !outbox_size(&tunnel->held)) {
        count = side_receive(tunnel, plain, tunnel->engine->opened, OPENED_SIZE - fill);
        if (count <= 0)
            break;
        fill += (size_t)count;
        if (secure_seal(tunnel, tunnel->engine->opened, (size_t)count) < 0) {
            flow_drop(tunnel, plain, fill);
            break;
        }
    }
    if (count == 0 && fill < OPENED_SIZE)
        flow_end(tunnel, plain, FLOW_ENDED);
    else if (count < 0 && tunnel->side[plain].error)
        flow_cut(tunnel, plain, CAUSE_RESET);
    return fill;
}

/* Everything before the end of the plain side was sealed: our close_notify goes with it. */
static void seal_end(struct tunnel *tunnel) {
    ERR_clear_error();
    SSL_shutdown(tunnel->ssl);
    ERR_clear_error();
    tunnel->flow[!tunnel->secure] = FLOW_PASSED;
}

static void pump_to_secure(struct tunnel *tunnel) {
    int plain = !tunnel->secure;
    size_t moved = 0, count = 1;
    while (secure_free(tunnel) && tunnel->flow[plain] <= FLOW_ENDED && count) {
        size_t sealed;
        if (moved >= TURN_BUDGET) {
            engine_queue(tunnel);
            return;
        }
        count = tunnel->flow[plain] == FLOW_OPEN ? seal_some(tunnel) : 0;
        moved += count;
        if (tunnel->flow[plain] == FLOW_ENDED && !outbox_size(&tunnel->held))
            seal_end(tunnel);
        sealed = tunnel->engine->sealed_size;
        if (secure_flush(tunnel) < 0)
            flow_drop(tunnel, plain, sealed);
    }
}

/* The TLS side has no more bytes: it waits, has ended, or has failed.  After our own close_notify a TCP end is enough. */
static void secure_end(struct tunnel *tunnel) {
    uint32_t cause;
    if (SSL_get_error(tunnel->ssl, 0) == SSL_ERROR_ZERO_RETURN) {
        flow_end(tunnel, tunnel->secure, FLOW_ENDED);
        return;
    }
    cause = secure_failure(tunnel, 0);
    if (cause == CAUSE_TRUNCATED && (tunnel->tolerant || tunnel->flow[!tunnel->secure] == FLOW_PASSED))
        flow_end(tunnel, tunnel->secure, FLOW_ENDED);
    else if (cause != CAUSE_CLEAN)
        flow_cut(tunnel, tunnel->secure, cause);
}

/* Open records until the scratch is full or the side has no more. */
static size_t open_records(struct tunnel *tunnel) {
    size_t fill = 0, count;
    ERR_clear_error();
    while (fill < OPENED_SIZE
            && SSL_read_ex(tunnel->ssl, tunnel->engine->opened + fill, OPENED_SIZE - fill, &count))
        fill += count;
    if (tunnel->refuse_renegotiation == 2)
        flow_cut(tunnel, tunnel->secure, CAUSE_RENEGOTIATION);
    else if (fill < OPENED_SIZE)
        secure_end(tunnel);
    return fill;
}

static size_t open_some(struct tunnel *tunnel) {
    int plain = !tunnel->secure;
    size_t fill;
    if (!tunnel->side[tunnel->secure].readable && !SSL_has_pending(tunnel->ssl))
        return 0;
    fill = open_records(tunnel);
    if (fill) {
        tunnel->delivered[plain] += fill;
        if (side_deliver(tunnel, plain, tunnel->engine->opened, fill) < 0)
            flow_drop(tunnel, tunnel->secure, fill);
    }
    if (secure_flush(tunnel) < 0)
        flow_drop(tunnel, plain, 0);
    return fill;
}

/* Whether the direction from the TLS side can take more. */
static int plain_free(struct tunnel *tunnel) {
    size_t before = outbox_size(&tunnel->owed[!tunnel->secure]);
    int owed = side_flush(tunnel, !tunnel->secure);
    if (owed < 0)
        flow_drop(tunnel, tunnel->secure, before);
    return owed == 0;
}

static void pump_to_plain(struct tunnel *tunnel) {
    int secure = tunnel->secure;
    size_t moved = 0, count = 1;
    while (plain_free(tunnel) && tunnel->flow[secure] == FLOW_OPEN && count) {
        if (moved >= TURN_BUDGET) {
            engine_queue(tunnel);
            return;
        }
        count = open_some(tunnel);
        moved += count;
    }
    if (tunnel->flow[secure] == FLOW_ENDED && !outbox_size(&tunnel->owed[!secure])) {
        if (tunnel->flow[!secure] != FLOW_PASSED || !nothing_owed(tunnel)) /* else it is closed at once */
            side_finish(&tunnel->side[!secure]);
        tunnel->flow[secure] = FLOW_PASSED;
    }
}

/* Whether the direction from `side` lost its sink, and the failed sink has nothing more to give either. */
static int drop_is_final(const struct tunnel *tunnel, int side) {
    return tunnel->flow[side] == FLOW_DROPPED
        && (tunnel->flow[!side] != FLOW_OPEN || tunnel->side[!side].error == ENOMEM);
}

/* Whether the relay is over; then what remains is to settle or to decide. */
static int relay_over(struct tunnel *tunnel) {
    const uint8_t *flow = tunnel->flow;
    if (flow[ACCEPTED] == FLOW_CUT || flow[DIALLED] == FLOW_CUT) {
        settle_start(tunnel, tunnel->cause, tunnel->error);
        return 1;
    }
    if (drop_is_final(tunnel, ACCEPTED) || drop_is_final(tunnel, DIALLED)) {
        settle_start(tunnel, tunnel->error == ENOMEM ? CAUSE_MEMORY : CAUSE_RESET, tunnel->error);
        return 1;
    }
    if (flow[ACCEPTED] == FLOW_PASSED && flow[DIALLED] == FLOW_PASSED && nothing_owed(tunnel)) {
        tunnel_done(tunnel, DECIDED_RELAY);
        return 1;
    }
    return 0;
}

/* The idle time counts while both directions are open or bytes are owed, the close time otherwise; both run from the
 * last byte that moved. */
static void relay_clock(struct tunnel *tunnel) {
    int half = (tunnel->flow[ACCEPTED] == FLOW_PASSED || tunnel->flow[DIALLED] == FLOW_PASSED)
        && nothing_owed(tunnel);
    uint32_t timeout = half ? tunnel->close_timeout : tunnel->idle_timeout;
    int expired;
    if (half && timeout == UINT32_MAX)
        timeout = 0;
    else if (half && timeout == 0)
        timeout = 1;
    expired = timeout && tunnel->engine->now >= tunnel->moved_at + timeout;
    if (expired) {
        tunnel_decide(tunnel, DECIDED_RELAY, half ? CAUSE_CLOSE_TIMEOUT : CAUSE_IDLE, 0);
        return;
    }
    if (timeout && (timeout != tunnel->timeout || !tunnel->armed))
        timer_arm(tunnel, tunnel->moved_at + timeout);
    tunnel->timeout = timeout;
}

void relay_step(struct tunnel *tunnel) {
    pump_to_secure(tunnel); /* first: an end of the plain side decides what a TCP end of the other one means */
    pump_to_plain(tunnel);
    if (outbox_size(&tunnel->held))
        pump_to_secure(tunnel);
    if (!relay_over(tunnel))
        relay_clock(tunnel);
}

/* Relay between the two connected sides until both ends are over.  `idle` in ms, 0 = for ever; `close` in ms, 0 = do not
 * wait, UINT32_MAX = for ever; `tolerant`: take a TCP end without close_notify for a clean one.  0 or -errno. */
int tunnel_relay(struct tunnel *tunnel, uint32_t idle, uint32_t close, int tolerant) {
    struct engine *engine = tunnel->engine;
    int status;
    tunnel->phase = PHASE_RELAY;
    tunnel->tolerant = (uint8_t)tolerant;
    tunnel->idle_timeout = idle;
    tunnel->close_timeout = close;
    tunnel->moved_at = engine->now;
    tunnel->limit = 0;
    for (int side = ACCEPTED; side <= DIALLED; side++) {
        status = watch_register(engine, &tunnel->side[side], EPOLLIN | EPOLLRDHUP | EPOLLPRI | EPOLLET);
        if (status < 0)
            return status;
    }
    relay_step(tunnel);
    return 0;
}
