/* The end of a tunnel that did not end cleanly.
 *
 * Bytes that were accepted before the failure are still delivered where their sink lives.  A reset would overtake what
 * lies in the kernel's send queue, so it waits until the peer's kernel has acknowledged everything (SIOCOUTQ is 0), or
 * until nothing has been acknowledged for the close time.
 */
#include "engine.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>

#define SETTLE_FIRST 4      /* ms until the second look at the kernel's queue; doubled up to SETTLE_MOST */
#define SETTLE_MOST 512
#define SETTLE_LIMIT 60000  /* ms without progress, where no close time is set */

/* A connection that the peer has reset delivers nothing any more, but its queue is never emptied. */
static int side_is_gone(const struct watch *watch) {
    struct tcp_info info;
    socklen_t size = sizeof info;
    return getsockopt(watch->fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 && info.tcpi_state == TCP_CLOSE;
}

/* How many bytes this side's peer has not acknowledged; a Unix peer has them in its own queue, where they are safe. */
static uint64_t side_unsettled(struct tunnel *tunnel, int side) {
    struct watch *watch = &tunnel->side[side];
    int queued = 0;
    if (watch->error || watch->fd < 0 || side_flush(tunnel, side) < 0)
        return 0;
    if (!watch->local && (ioctl(watch->fd, SIOCOUTQ, &queued) < 0 || (queued > 0 && side_is_gone(watch))))
        return 0;
    return outbox_size(&tunnel->owed[side]) + (uint64_t)(watch->local ? 0 : queued);
}

/* The tunnel failed with `cause`: deliver the rest, then decide. */
void settle_start(struct tunnel *tunnel, uint32_t cause, int error) {
    uint32_t limit = tunnel->close_timeout;
    tunnel->phase = PHASE_SETTLE;
    tunnel->cause = (uint8_t)cause;
    tunnel->error = error;
    tunnel->unsettled = UINT64_MAX;
    tunnel->limit = limit && limit != UINT32_MAX ? limit : SETTLE_LIMIT;
    tunnel->settle_step = SETTLE_FIRST;
    settle_step(tunnel);
}

void settle_step(struct tunnel *tunnel) {
    uint64_t now = tunnel->engine->now;
    uint64_t unsettled = side_unsettled(tunnel, ACCEPTED) + side_unsettled(tunnel, DIALLED);
    if (unsettled < tunnel->unsettled)
        tunnel->started_at = now;
    tunnel->unsettled = unsettled;
    if (!unsettled || now >= tunnel->started_at + tunnel->limit) {
        tunnel_decide(tunnel, DECIDED_RELAY, tunnel->cause, tunnel->error);
        return;
    }
    tunnel->timeout = tunnel->settle_step;
    tunnel->moved_at = now;
    timer_arm(tunnel, now + tunnel->settle_step);
    if (tunnel->settle_step < SETTLE_MOST)
        tunnel->settle_step *= 2;
}
