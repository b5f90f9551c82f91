/* The little HTTP/1.1 of the load generator: one request, one reply of known length, every byte checked. */
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEAD_SIZE = 1024 }; /* a reply's head together with a short body fits */

long long content_length(const char *head)
{
    const char *field = strcasestr(head, "\r\nContent-Length:");

    return field ? atoll(field + strlen("\r\nContent-Length:")) : -1;
}

/* Composes a request of exactly REQUEST_SIZE octets; the padding is a header field of its own. */
static void compose(char *request, bool last)
{
    int head = snprintf(request, REQUEST_SIZE, "GET /reply HTTP/1.1\r\nHost: bench\r\nConnection: %s\r\nX-Fill: ",
                        last ? "close" : "keep-alive");

    memset(request + head, 'x', REQUEST_SIZE - 4 - (size_t)head);
    memcpy(request + REQUEST_SIZE - 4, "\r\n\r\n", 4);
}

static bool read_some(struct worker *worker, SSL *ssl, char *buffer, size_t room, size_t *used)
{
    size_t got;

    errno = 0;
    if (!SSL_read_ex(ssl, buffer + *used, room - 1 - *used, &got))
        return fail(worker, "read");
    *used += got;
    buffer[*used] = '\0';
    return true;
}

/* Reads until the head is complete; returns where the body begins, or NULL. */
static char *read_head(struct worker *worker, SSL *ssl, char *buffer, size_t room, size_t *used)
{
    char *end;

    buffer[0] = '\0';
    while (!(end = strstr(buffer, "\r\n\r\n"))) {
        if (*used + 1 >= room) {
            fail(worker, "reply: head too long");
            return NULL;
        }
        if (!read_some(worker, ssl, buffer, room, used))
            return NULL;
    }
    if (strncmp(buffer, "HTTP/1.1 200 ", 13)) {
        fail(worker, "reply: status is not 200");
        return NULL;
    }
    return end + 4;
}

bool read_reply(struct worker *worker, SSL *ssl)
{
    char buffer[HEAD_SIZE];
    size_t used = 0, wanted = strlen(worker->load->body);
    char *body = read_head(worker, ssl, buffer, sizeof buffer, &used);

    if (!body)
        return false;
    if (content_length(buffer) != (long long)wanted || (size_t)(body - buffer) + wanted >= sizeof buffer)
        return fail(worker, "reply: wrong length");
    while (used < (size_t)(body - buffer) + wanted)
        if (!read_some(worker, ssl, buffer, sizeof buffer, &used))
            return false;
    errno = 0;
    if (used != (size_t)(body - buffer) + wanted || memcmp(body, worker->load->body, wanted))
        return fail(worker, "reply: wrong bytes");
    return true;
}

bool exchange(struct worker *worker, SSL *ssl, bool last)
{
    char request[REQUEST_SIZE];

    compose(request, last);
    return tls_write(worker, ssl, request, sizeof request) && read_reply(worker, ssl);
}

/* The body that the backend sends is a sparse file: zeros, and exactly as many as announced. */
static bool all_zero(const char *data, size_t size)
{
    return size == 0 || (data[0] == 0 && memcmp(data, data + 1, size - 1) == 0);
}

static bool read_zeros(struct worker *worker, SSL *ssl, char *buffer, long long missing)
{
    size_t got;

    while (missing > 0) {
        errno = 0;
        if (!SSL_read_ex(ssl, buffer, CHUNK, &got))
            return fail(worker, "read");
        missing -= (long long)got;
        errno = 0;
        if (missing < 0 || !all_zero(buffer, got))
            return fail(worker, "download: wrong bytes");
    }
    return true;
}

bool download(struct worker *worker, SSL *ssl)
{
    static const char request[] = "GET /blob HTTP/1.1\r\nHost: bench\r\n\r\n";
    static _Thread_local char buffer[CHUNK];
    size_t used = 0, early;
    char *body;

    if (!tls_write(worker, ssl, request, sizeof request - 1))
        return false;
    body = read_head(worker, ssl, buffer, sizeof buffer, &used);
    if (!body)
        return false;
    early = used - (size_t)(body - buffer);
    errno = 0;
    if (content_length(buffer) != worker->load->bytes || !all_zero(body, early))
        return fail(worker, "download: wrong length or bytes");
    return read_zeros(worker, ssl, buffer, worker->load->bytes - (long long)early);
}

bool upload(struct worker *worker, SSL *ssl)
{
    char head[128];
    long long sent = 0, total = worker->load->bytes;
    int length = snprintf(head, sizeof head, "POST /sink HTTP/1.1\r\nHost: bench\r\nContent-Length: %lld\r\n\r\n",
                          total);

    if (!tls_write(worker, ssl, head, (size_t)length))
        return false;
    while (sent < total) {
        size_t size = total - sent < CHUNK ? (size_t)(total - sent) : CHUNK;

        if (!tls_write(worker, ssl, pattern_at(sent), size))
            return false;
        sent += (long long)size;
    }
    return read_reply(worker, ssl);
}
