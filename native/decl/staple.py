"""OCSP stapling (RFC 6066, 8): a server's current answer, and the answer that a client was given.

Theory of operation.  One process fetches answers, every worker hands them out, and none of them waits.  An
answer lies in memory that is mapped before the fork.  Its version is odd while it is being written; a reader
that saw the same even version before and after its copy has a whole answer (a sequence lock with one writer).
An answer that has ended is not given out: the reader looks at the clock, so nobody need take it away.

The callback is C from end to end, so a handshake with a stapled answer runs no Python.
"""

from __future__ import annotations

INCLUDES = """
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <sys/mman.h>
#include <openssl/ssl.h>
"""

TYPES = """
struct culvert_staple;
static const int CULVERT_STAPLE_ROOM;
static const int TLSEXT_STATUSTYPE_ocsp;
"""

FUNCTIONS = """
struct culvert_staple *culvert_staple_new(void);
void culvert_staple_free(struct culvert_staple *);
int culvert_staple_put(struct culvert_staple *, const unsigned char *, size_t, int64_t);
unsigned char *culvert_staple_get(struct culvert_staple *, uint32_t *, int64_t *);
int culvert_staple_use(SSL_CTX *, X509 *, struct culvert_staple *);
long SSL_CTX_set_tlsext_status_type(SSL_CTX *, int);
long SSL_get_tlsext_status_type(SSL *);
long culvert_stapled_answer(SSL *, const unsigned char **);
"""

CUSTOM = """
enum { CULVERT_STAPLE_ROOM = 64 * 1024, ATTEMPTS = 16 };

struct shared_answer {
    uint64_t version; /* odd while it is written */
    int64_t ends;     /* seconds since 1970 */
    uint32_t size;    /* 0: none */
    unsigned char der[CULVERT_STAPLE_ROOM];
};

/* References are this process' own: a fork copies them with everything else. */
struct culvert_staple {
    unsigned int references;
    struct shared_answer *shared;
};

static struct culvert_staple *culvert_staple_new(void)
{
    struct culvert_staple *staple = OPENSSL_zalloc(sizeof *staple);
    if (!staple)
        return NULL;
    const int kind = MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE; /* most of it is never touched */
    staple->shared = mmap(NULL, sizeof *staple->shared, PROT_READ | PROT_WRITE, kind, -1, 0);
    if (staple->shared == MAP_FAILED) {
        OPENSSL_free(staple);
        return NULL;
    }
    staple->references = 1;
    return staple;
}

static void culvert_staple_free(struct culvert_staple *staple)
{
    if (--staple->references)
        return;
    munmap(staple->shared, sizeof *staple->shared);
    OPENSSL_free(staple);
}

/* Replace the answer; size 0 takes it away.  Only one process may do so. */
static int culvert_staple_put(struct culvert_staple *staple, const unsigned char *der, size_t size,
                              int64_t ends)
{
    struct shared_answer *shared = staple->shared;
    if (size > CULVERT_STAPLE_ROOM)
        return 0;
    uint64_t version = shared->version | 1; /* a writer that died had made it odd already */
    __atomic_store_n(&shared->version, version, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    shared->ends = ends;
    shared->size = (uint32_t)size;
    memcpy(shared->der, der, size);
    __atomic_store_n(&shared->version, version + 1, __ATOMIC_RELEASE);
    return 1;
}

static unsigned char *copy_of(struct shared_answer *shared, uint32_t *size, int64_t *ends)
{
    *size = __atomic_load_n(&shared->size, __ATOMIC_RELAXED);
    *ends = __atomic_load_n(&shared->ends, __ATOMIC_RELAXED);
    if (!*size || *size > CULVERT_STAPLE_ROOM || *ends <= (int64_t)time(NULL))
        return NULL;
    return OPENSSL_memdup(shared->der, *size);
}

/* A copy of the current answer, the caller's to free; NULL when there is none. */
static unsigned char *culvert_staple_get(struct culvert_staple *staple, uint32_t *size, int64_t *ends)
{
    struct shared_answer *shared = staple->shared;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        uint64_t before = __atomic_load_n(&shared->version, __ATOMIC_ACQUIRE);
        if (before & 1)
            continue;
        unsigned char *copy = copy_of(shared, size, ends);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (__atomic_load_n(&shared->version, __ATOMIC_RELAXED) == before)
            return copy;
        OPENSSL_free(copy);
    }
    return NULL;
}

static void free_with_certificate(void *parent, void *staple, CRYPTO_EX_DATA *data, int slot, long number,
                                  void *more)
{
    (void)parent, (void)data, (void)slot, (void)number, (void)more;
    if (staple)
        culvert_staple_free(staple);
}

/* A certificate carries its staple, so that one look finds it, however many certificates there are. */
static int staple_slot(void)
{
    static int slot = -1;
    if (slot < 0)
        slot = CRYPTO_get_ex_new_index(CRYPTO_EX_INDEX_X509, 0, NULL, NULL, NULL, free_with_certificate);
    return slot;
}

/* OpenSSL has chosen the certificate by now (SSL_CTX_set_tlsext_status_cb(3)). */
static int on_status(SSL *ssl, void *unused)
{
    X509 *certificate = SSL_get_certificate(ssl);
    struct culvert_staple *staple = certificate ? X509_get_ex_data(certificate, staple_slot()) : NULL;
    uint32_t size;
    int64_t ends;
    (void)unused;
    unsigned char *answer = staple ? culvert_staple_get(staple, &size, &ends) : NULL;
    if (!answer)
        return SSL_TLSEXT_ERR_NOACK;
    SSL_set_tlsext_status_ocsp_resp(ssl, answer, size);
    return SSL_TLSEXT_ERR_OK;
}

/* Staple the current answer to that certificate, which keeps a reference, where the context shows it. */
static int culvert_staple_use(SSL_CTX *context, X509 *certificate, struct culvert_staple *staple)
{
    struct culvert_staple *before = X509_get_ex_data(certificate, staple_slot());
    if (!X509_set_ex_data(certificate, staple_slot(), staple))
        return 0;
    staple->references++;
    if (before)
        culvert_staple_free(before);
    SSL_CTX_set_tlsext_status_cb(context, on_status);
    return 1;
}

/* The answer that came with the peer's certificate, owned by `ssl`; its size, -1 when none came. */
static long culvert_stapled_answer(SSL *ssl, const unsigned char **answer)
{
    return SSL_get_tlsext_status_ocsp_resp(ssl, answer);
}
"""
