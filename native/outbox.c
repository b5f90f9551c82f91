/* Raw bytes to and from a side's descriptor, and what a sink refused. */
#include "engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int outbox_room(struct outbox *outbox, size_t size) {
    size_t held = outbox_size(outbox);
    unsigned char *bytes;
    if (held + size > OWED_MAX)
        return -1;
    if (outbox->size - outbox->end >= size)
        return 0;
    bytes = malloc(held + size);
    if (!bytes)
        return -1;
    if (held)
        memcpy(bytes, outbox->bytes + outbox->start, held);
    free(outbox->bytes);
    outbox->bytes = bytes;
    outbox->start = 0;
    outbox->end = (uint32_t)held;
    outbox->size = (uint32_t)(held + size);
    return 0;
}

/* Append; -1 when memory is out or the sink owes more than it may. */
int outbox_add(struct outbox *outbox, const void *bytes, size_t size) {
    if (outbox_room(outbox, size) < 0)
        return -1;
    memcpy(outbox->bytes + outbox->end, bytes, size);
    outbox->end += (uint32_t)size;
    return 0;
}

void outbox_free(struct outbox *outbox) {
    free(outbox->bytes);
    memset(outbox, 0, sizeof *outbox);
}

static void outbox_take(struct outbox *outbox, size_t size) {
    outbox->start += (uint32_t)size;
    if (outbox->start == outbox->end)
        outbox_free(outbox);
}

/* Send what the kernel takes now.  Returns the number of bytes, or -1 when the side failed (`watch.error`). */
ssize_t side_send(struct tunnel *tunnel, int side, const unsigned char *bytes, size_t size) {
    struct watch *watch = &tunnel->side[side];
    size_t sent = 0;
    if (watch->error)
        return -1;
    while (sent < size && watch->writable) {
        ssize_t count = watch->terminal
            ? write(watch->fd, bytes + sent, size - sent)
            : send(watch->fd, bytes + sent, size - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (count >= 0) {
            sent += (size_t)count;
        } else if (errno == EAGAIN) {
            watch_want_write(tunnel->engine, watch);
        } else if (errno != EINTR) {
            watch->error = errno;
            return -1;
        }
    }
    if (sent)
        tunnel->moved_at = tunnel->engine->now;
    return (ssize_t)sent;
}

/* Send, and keep for later what was refused.  Returns 0, or -1 when the side failed or memory is out. */
int side_deliver(struct tunnel *tunnel, int side, const unsigned char *bytes, size_t size) {
    ssize_t sent = 0;
    if (!outbox_size(&tunnel->owed[side]))
        sent = side_send(tunnel, side, bytes, size);
    if (sent < 0)
        return -1;
    if ((size_t)sent == size)
        return 0;
    if (outbox_add(&tunnel->owed[side], bytes + sent, size - (size_t)sent) == 0)
        return 0;
    tunnel->side[side].error = ENOMEM;
    return -1;
}

/* Send what the side is owed.  Returns how many bytes it still is owed, or -1 when it failed. */
int side_flush(struct tunnel *tunnel, int side) {
    struct outbox *outbox = &tunnel->owed[side];
    ssize_t sent;
    if (!outbox_size(outbox))
        return 0;
    sent = side_send(tunnel, side, outbox->bytes + outbox->start, outbox_size(outbox));
    if (sent < 0)
        return -1;
    outbox_take(outbox, (size_t)sent);
    return (int)outbox_size(outbox);
}

/* AF_UNIX has no reset of its own: a peer sees ECONNRESET only where we close while bytes of its own lie unread.  So the
 * last byte that we took from a local peer is delivered but stays in the kernel's queue (`kept`) until the next one. */
static ssize_t receive_local(struct watch *watch, unsigned char *bytes, size_t size) {
    int queued = 0;
    ssize_t count;
    unsigned char kept;
    if (ioctl(watch->fd, FIONREAD, &queued) < 0)
        return -1;
    if (queued <= watch->kept) { /* nothing new: an end, an error or a pause */
        socklen_t length = sizeof queued;
        if (getsockopt(watch->fd, SOL_SOCKET, SO_ERROR, &queued, &length) == 0 && queued) {
            errno = queued;
            return -1;
        }
        if (watch->kept && watch->hangup)
            return 0;
        if (watch->kept) {
            errno = EAGAIN;
            return -1;
        }
        count = recv(watch->fd, bytes, 1, MSG_DONTWAIT | MSG_PEEK);
        watch->kept = count == 1;
        return count;
    }
    if (watch->kept && recv(watch->fd, &kept, 1, MSG_DONTWAIT) != 1)
        return -1;
    queued -= watch->kept;
    watch->kept = 0;
    if ((size_t)queued > size)
        return recv(watch->fd, bytes, size, MSG_DONTWAIT);
    count = queued > 1 ? recv(watch->fd, bytes, (size_t)queued - 1, MSG_DONTWAIT) : 0;
    if (count < 0 || recv(watch->fd, bytes + count, 1, MSG_DONTWAIT | MSG_PEEK) != 1)
        return count;
    watch->kept = 1;
    return count + 1;
}

/* Returns a number of bytes, 0 at the end of the stream, or -1: nothing now, or failed when `watch.error` is set. */
ssize_t side_receive(struct tunnel *tunnel, int side, unsigned char *bytes, size_t size) {
    struct watch *watch = &tunnel->side[side];
    ssize_t count;
    if (watch->eof)
        return watch->error ? -1 : 0;
    if (!watch->readable)
        return -1;
    do
        count = watch->terminal ? terminal_receive(watch, bytes, size)
            : watch->local ? receive_local(watch, bytes, size)
            : recv(watch->fd, bytes, size, MSG_DONTWAIT);
    while (count < 0 && errno == EINTR);
    if (count > 0) {
        if ((size_t)count < size && !watch->suspect)
            watch->readable = 0;
        tunnel->moved_at = tunnel->engine->now;
    } else if (count == 0) {
        watch->eof = 1;
        if (watch->error)
            count = -1; /* a failed write had taken the error that this end stands for */
    } else if (errno == EAGAIN) {
        watch->readable = 0;
        watch->eof = watch->last;
        return watch->last ? 0 : -1;
    } else {
        watch->error = errno;
    }
    return count;
}
