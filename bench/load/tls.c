/* Connections of the load generator: connect, handshake, check what was agreed, close as a client does. */
#include "load.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

bool fail(struct worker *worker, const char *doing)
{
    unsigned long code = ERR_get_error();
    const char *reason = code ? ERR_reason_error_string(code) : errno ? strerror(errno) : "unexpected end";

    if (!worker->failed)
        snprintf(worker->error, sizeof worker->error, "%s: %s", doing, reason ? reason : "unknown");
    worker->failed = true;
    ERR_clear_error();
    return false;
}

static int keep_ticket(SSL *ssl, SSL_SESSION *session)
{
    struct worker *worker = SSL_get_app_data(ssl);

    if (!worker->load->resume)
        return 0;
    SSL_SESSION_free(worker->session);
    worker->session = session;
    return 1; /* the reference is ours now */
}

SSL_CTX *client_context(const char *trusted_file)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());

    if (!context || !SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION)
        || !SSL_CTX_load_verify_file(context, trusted_file))
        return NULL;
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, keep_ticket);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS); /* 10,000 connections fit into little memory */
    return context;
}

bool show_certificate(SSL_CTX *context, const char *file)
{
    return SSL_CTX_use_certificate_chain_file(context, file) == 1
           && SSL_CTX_use_PrivateKey_file(context, file, SSL_FILETYPE_PEM) == 1;
}

static char shared_identity[64];
static unsigned char shared_key[64];
static long shared_key_size;

static unsigned int shared_key_wanted(SSL *ssl, const char *hint, char *identity, unsigned int identity_room,
                                      unsigned char *key, unsigned int room)
{
    (void)ssl, (void)hint;
    if (shared_key_size > (long)room || strlen(shared_identity) >= identity_room)
        return 0;
    strcpy(identity, shared_identity);
    memcpy(key, shared_key, (size_t)shared_key_size);
    return (unsigned int)shared_key_size;
}

bool use_shared_key(SSL_CTX *context, const char *text)
{
    const char *colon = strchr(text, ':');
    size_t size;

    if (!colon || (size_t)(colon - text) >= sizeof shared_identity)
        return false;
    memcpy(shared_identity, text, (size_t)(colon - text));
    if (!OPENSSL_hexstr2buf_ex(shared_key, sizeof shared_key, &size, colon + 1, '\0'))
        return false;
    shared_key_size = (long)size;
    SSL_CTX_set_psk_client_callback(context, shared_key_wanted);
    return true;
}

static int tcp_connect(const struct sockaddr_in *address)
{
    struct timeval deadline = {.tv_sec = DEADLINE_SECONDS};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof deadline);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &deadline, sizeof deadline);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, (const struct sockaddr *)address, sizeof *address) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static void note_facts(SSL *ssl, struct facts *facts)
{
    X509 *certificate = SSL_get0_peer_certificate(ssl);
    EVP_PKEY *key = certificate ? X509_get0_pubkey(certificate) : NULL;
    const char *group = OBJ_nid2sn((int)SSL_get_negotiated_group(ssl));

    snprintf(facts->version, sizeof facts->version, "%s", SSL_get_version(ssl));
    snprintf(facts->cipher, sizeof facts->cipher, "%s", SSL_get_cipher_name(ssl));
    snprintf(facts->group, sizeof facts->group, "%s", group ? group : "none");
    snprintf(facts->key, sizeof facts->key, "%s-%d", key ? EVP_PKEY_get0_type_name(key) : "none",
             key ? EVP_PKEY_get_bits(key) : 0);
}

/* The first connection of a thread says what to expect of all others. */
static bool check_facts(struct worker *worker, SSL *ssl)
{
    struct facts facts = {0};

    note_facts(ssl, &facts);
    if (!worker->facts.version[0])
        worker->facts = facts;
    errno = 0;
    if (memcmp(&facts, &worker->facts, sizeof facts))
        return fail(worker, "handshake agreed on something else than the first one");
    return true;
}

static bool handshake(struct worker *worker, struct connection *link)
{
    const unsigned char *response;

    link->ssl = SSL_new(worker->load->context);
    if (!link->ssl || !SSL_set_fd(link->ssl, link->fd))
        return fail(worker, "SSL_new");
    SSL_set_app_data(link->ssl, worker);
    if (worker->session)
        SSL_set_session(link->ssl, worker->session);
    ERR_clear_error();
    if (SSL_connect(link->ssl) != 1)
        return fail(worker, "handshake");
    errno = 0;
    if (worker->load->staple && SSL_get_tlsext_status_ocsp_resp(link->ssl, &response) <= 0)
        return fail(worker, "no OCSP response was stapled");
    if (worker->load->shared_key && SSL_get0_peer_certificate(link->ssl))
        return fail(worker, "the pre-shared key was not used");
    return check_facts(worker, link->ssl);
}

bool tls_open(struct worker *worker, struct connection *link)
{
    link->ssl = NULL;
    link->fd = tcp_connect(&worker->load->address);
    if (link->fd < 0)
        return fail(worker, "connect");
    if (handshake(worker, link))
        return true;
    tls_close(link);
    return false;
}

/* Sends close_notify, then waits for the other side's: a close with data in flight would be a reset, whose cost
 * depends on who is faster. */
void tls_close(struct connection *link)
{
    char rest[64];

    if (link->ssl) {
        if (SSL_is_init_finished(link->ssl) && SSL_shutdown(link->ssl) == 0)
            while (SSL_read(link->ssl, rest, sizeof rest) > 0)
                ;
        ERR_clear_error();
        SSL_free(link->ssl);
    }
    if (link->fd >= 0)
        close(link->fd);
    *link = (struct connection){.fd = -1};
}

bool tls_write(struct worker *worker, SSL *ssl, const void *data, size_t size)
{
    size_t written;

    errno = 0;
    if (!SSL_write_ex(ssl, data, size, &written) || written != size)
        return fail(worker, "write");
    return true;
}
