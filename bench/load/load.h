/* The load generator of the benchmark: what its four sources share.
 *
 * One process, blocking sockets, one thread per concurrent connection: the same load, byte for byte, goes to
 * every proxy.  A run has three phases, so that the harness can read the proxy's CPU clocks between them:
 *
 *   set up   connections that the measure wants to have open already; then "ready" is printed
 *   work     begins when a line arrives on standard input; then the result is printed, one line of JSON
 *   close    begins at the end of standard input
 *
 * Nothing is trusted: protocol version, cipher, certificate, resumption, status line and every byte of every
 * reply are checked, and one wrong reply is a failure that the result carries.
 */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <netinet/in.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

enum {
    REQUEST_SIZE = 100,     /* octets of one request, headers included */
    CHUNK = 256 * 1024,     /* octets that bulk transfers move per call */
    PATTERN_PERIOD = 65521, /* prime: a lost or doubled block of any usual size shows */
    ERROR_SIZE = 160,
    DEADLINE_SECONDS = 30, /* for one blocking read or write */
};

/* What a handshake agreed on; equal for all connections of a run, or the run fails. */
struct facts {
    char version[16];
    char cipher[48];
    char group[32];
    char key[16]; /* the certificate's public key, such as RSA-2048 */
};

struct connection {
    int fd; /* -1 when closed */
    SSL *ssl;
};

/* One run; read only once its threads have started. */
struct load {
    struct sockaddr_in address;
    SSL_CTX *context;
    const struct mode *mode;
    long count;       /* units of work, all threads together */
    int threads;
    bool resume;      /* every connection of the work phase must be a resumed one */
    long long bytes;  /* length of a bulk body */
    const char *body; /* the reply that the backend must give */
    bool staple;      /* every handshake must bring an OCSP response */
    bool shared_key;  /* and use the pre-shared key instead of a certificate */
};

struct worker {
    const struct load *load;
    pthread_t thread;
    long share;                    /* units of work of this thread */
    long done, resumed;
    bool failed;
    char error[ERROR_SIZE];        /* the first failure */
    struct facts facts;
    SSL_SESSION *session;          /* the newest ticket, in resumption runs */
    struct connection *open;       /* kept connections */
    long open_count;
};

struct mode {
    const char *name;
    bool (*set_up)(struct worker *);
    bool (*work)(struct worker *);
};

/* Every function that returns bool gives false after it has put a reason into worker->error. */
bool fail(struct worker *worker, const char *doing);

/* tls.c */
SSL_CTX *client_context(const char *trusted_file);
bool show_certificate(SSL_CTX *context, const char *file); /* PEM: key and certificate */
bool use_shared_key(SSL_CTX *context, const char *text);   /* IDENTITY:HEX */
bool tls_open(struct worker *worker, struct connection *link);
void tls_close(struct connection *link);
bool tls_write(struct worker *worker, SSL *ssl, const void *data, size_t size);

/* http.c */
bool exchange(struct worker *worker, SSL *ssl, bool last);
bool read_reply(struct worker *worker, SSL *ssl);
bool download(struct worker *worker, SSL *ssl);
bool upload(struct worker *worker, SSL *ssl);
long long content_length(const char *head);

/* sink.c: serves uploads until standard input ends */
int run_sink(const char *body);
void fill_pattern(void);
const unsigned char *pattern_at(long long offset); /* CHUNK octets may be read there */

#endif
