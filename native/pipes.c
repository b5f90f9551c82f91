/* Octets from one blocking descriptor to another, in a thread of their own: for a connection that comes as two pipes. */
#include "engine.h"

#include <errno.h>
#include <unistd.h>

#define PORTION (64 * 1024)

static int write_all(int sink, const unsigned char *bytes, size_t size) {
    while (size) {
        ssize_t count = write(sink, bytes, size);
        if (count < 0 && errno != EINTR)
            return -errno;
        if (count > 0) {
            bytes += count;
            size -= (size_t)count;
        }
    }
    return 0;
}

/* Carry until the source ends.  Returns 0, or -errno when either side failed.  (splice(2) would spare the copy, but what
 * it puts from a socket into a pipe does not wake every reader.) */
int pipes_carry(int source, int sink) {
    unsigned char bytes[PORTION];
    int status = 0;
    while (!status) {
        ssize_t count = read(source, bytes, sizeof bytes);
        if (count == 0)
            return 0;
        if (count > 0)
            status = write_all(sink, bytes, (size_t)count);
        else if (errno != EINTR)
            status = -errno;
    }
    return status;
}
