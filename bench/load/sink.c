/* The backend of the upload measure: reads request bodies, compares them with the pattern, says 200 or 400.
 * nginx does not fit here: it answers before the body came, or keeps the body on disk. */
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static unsigned char pattern[PATTERN_PERIOD + CHUNK];

void fill_pattern(void)
{
    unsigned state = 0;

    for (size_t i = 0; i < sizeof pattern; i++) {
        if (i % PATTERN_PERIOD == 0)
            state = 1;
        state = state * 1103515245u + 12345u;
        pattern[i] = (unsigned char)(state >> 16);
    }
}

const unsigned char *pattern_at(long long offset)
{
    return pattern + offset % PATTERN_PERIOD;
}

/* Reads a request's head; leaves early octets of the body in *early.  Returns the body's length or -1. */
static long long receive_head(int fd, char *buffer, size_t room, char **body, size_t *early)
{
    size_t used = 0;
    ssize_t got;
    char *end = NULL;

    while (!end && used + 1 < room && (got = recv(fd, buffer + used, room - 1 - used, 0)) > 0) {
        used += (size_t)got;
        buffer[used] = '\0';
        end = strstr(buffer, "\r\n\r\n");
    }
    if (!end)
        return -1;
    *body = end + 4;
    *early = used - (size_t)(*body - buffer);
    return content_length(buffer);
}

/* Returns whether `total` octets came and were the pattern; `buffer` has CHUNK octets. */
static bool receive_body(int fd, char *buffer, const char *body, size_t early, long long total)
{
    long long offset = (long long)early;
    ssize_t got;
    bool good = offset <= total && memcmp(body, pattern_at(0), early) == 0;

    while (offset < total && (got = recv(fd, buffer, CHUNK, 0)) > 0) {
        good = good && memcmp(buffer, pattern_at(offset), (size_t)got) == 0;
        offset += got;
    }
    return good && offset == total;
}

struct visit {
    int fd;
    const char *body;
};

static void *serve(void *argument)
{
    struct visit visit = *(struct visit *)argument;
    char *buffer = malloc(CHUNK), *body, reply[512];
    size_t early;
    long long total;

    free(argument);
    while (buffer && (total = receive_head(visit.fd, buffer, CHUNK, &body, &early)) >= 0) {
        bool good = receive_body(visit.fd, buffer, body, early, total);
        int size = snprintf(reply, sizeof reply, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n%s",
                            good ? "200 OK" : "400 Bad", strlen(visit.body), visit.body);

        if (send(visit.fd, reply, (size_t)size, MSG_NOSIGNAL) != size)
            break;
    }
    free(buffer);
    close(visit.fd);
    return NULL;
}

static void *accept_visits(void *argument)
{
    struct visit *listener = argument, *visit;
    pthread_t thread;

    for (;;) {
        visit = malloc(sizeof *visit);
        if (!visit)
            abort();
        *visit = (struct visit){.fd = accept(listener->fd, NULL, NULL), .body = listener->body};
        if (visit->fd < 0 || pthread_create(&thread, NULL, serve, visit))
            abort();
        pthread_detach(thread);
    }
}

int run_sink(const char *body)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    struct visit listener = {.fd = socket(AF_INET, SOCK_STREAM, 0), .body = body};
    pthread_t thread;

    if (bind(listener.fd, (struct sockaddr *)&address, size) || listen(listener.fd, 128)
        || getsockname(listener.fd, (struct sockaddr *)&address, &size)
        || pthread_create(&thread, NULL, accept_visits, &listener)) {
        perror("sink");
        return 1;
    }
    printf("port %d\n", ntohs(address.sin_port));
    fflush(stdout);
    while (getchar() != EOF)
        ;
    return 0;
}
