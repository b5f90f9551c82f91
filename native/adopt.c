/* Sides that were connected by somebody else: a program's socket, or the master end of its pseudo terminal.
 *
 * A terminal is no socket (`watch.terminal`): it is read and written, has no half-close, and reads EIO once no process
 * has the other end open.  The end of the input is told as a person tells it, by the character for that (termios(3),
 * VEOF), as long as the program reads lines.
 */
#include "engine.h"

#include <errno.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

void watch_adopt(struct watch *watch, int fd, enum watch_kind kind, int family, int terminal) {
    *watch = (struct watch){.fd = fd, .kind = (uint8_t)kind, .writable = 1, .readable = 1};
    watch->local = family == AF_UNIX && !terminal;
    watch->terminal = (uint8_t)terminal;
    watch->suspect = (uint8_t)terminal; /* a terminal gives a line at a time, however much there is */
}

/* Take a connected, non-blocking descriptor for the dialled side; the tunnel owns it from now on. */
void tunnel_adopt(struct tunnel *tunnel, int fd, int family, int terminal) {
    watch_adopt(&tunnel->side[DIALLED], fd, WATCH_DIALLED, family, terminal);
}

/* A tunnel whose accepted side is such a descriptor.  NULL when memory is out; then the descriptor is the caller's. */
struct tunnel *tunnel_begin(struct route *route, int fd, int family, int terminal) {
    struct tunnel *tunnel = tunnel_new(route, fd);
    socklen_t size = PEER_MAX;
    if (!tunnel)
        return NULL;
    watch_adopt(&tunnel->side[ACCEPTED], fd, WATCH_ACCEPTED, family, terminal);
    if (family == AF_UNIX || getpeername(fd, (struct sockaddr *)tunnel->peer, &size) < 0) {
        struct sockaddr none = {.sa_family = AF_UNIX};
        size = sizeof none.sa_family;
        memcpy(tunnel->peer, &none, size);
    }
    tunnel->peer_size = (uint8_t)size;
    return tunnel;
}

ssize_t terminal_receive(struct watch *watch, unsigned char *bytes, size_t size) {
    ssize_t count = read(watch->fd, bytes, size);
    return count < 0 && errno == EIO ? 0 : count;
}

/* Everything before was delivered: tell this side that nothing more comes. */
void side_finish(struct watch *watch) {
    struct termios modes;
    if (!watch->terminal)
        shutdown(watch->fd, SHUT_WR);
    else if (tcgetattr(watch->fd, &modes) == 0 && (modes.c_lflag & ICANON)
             && write(watch->fd, &modes.c_cc[VEOF], 1) < 0)
        watch->writable = 0; /* the program does not read: it will not miss the end either */
}

/* The program of this side has ended, and so has the session that its terminal belonged to: what others of that session
 * keep open cannot be written to any more (tty_ioctl(4), hangup), but keeps the end from showing. */
void tunnel_expect_end(struct tunnel *tunnel, int side) {
    tunnel->side[side].last = tunnel->side[side].readable = 1;
    engine_queue(tunnel);
}
