"""<openssl/ssl.h>: contexts, sessions, and the callbacks by which OpenSSL asks us.

OPTIONS lists every ``SSL_OP_`` name up to OpenSSL 3.5; those that the headers lack are left out of the
compiled table, and so are known to be missing.
"""

from __future__ import annotations

# fmt: off
OPTIONS = (
    "ALL", "ALLOW_CLIENT_RENEGOTIATION", "ALLOW_NO_DHE_KEX", "ALLOW_UNSAFE_LEGACY_RENEGOTIATION",
    "CIPHER_SERVER_PREFERENCE", "CISCO_ANYCONNECT", "CLEANSE_PLAINTEXT", "COOKIE_EXCHANGE",
    "CRYPTOPRO_TLSEXT_BUG", "DISABLE_TLSEXT_CA_NAMES", "DONT_INSERT_EMPTY_FRAGMENTS", "ECH_GREASE",
    "ECH_GREASE_RETRY_CONFIG", "ECH_IGNORE_CID", "ECH_TRIALDECRYPT", "ENABLE_KTLS",
    "ENABLE_KTLS_TX_ZEROCOPY_SENDFILE", "ENABLE_MIDDLEBOX_COMPAT", "EPHEMERAL_RSA", "IGNORE_UNEXPECTED_EOF",
    "LEGACY_EC_POINT_FORMATS", "LEGACY_SERVER_CONNECT", "MICROSOFT_BIG_SSLV3_BUFFER",
    "MICROSOFT_SESS_ID_BUG", "MSIE_SSLV2_RSA_PADDING", "NETSCAPE_CA_DN_BUG", "NETSCAPE_CHALLENGE_BUG",
    "NETSCAPE_DEMO_CIPHER_CHANGE_BUG", "NETSCAPE_REUSE_CIPHER_CHANGE_BUG", "NO_ANTI_REPLAY",
    "NO_COMPRESSION", "NO_DTLS_MASK", "NO_DTLSv1", "NO_DTLSv1_2", "NO_ENCRYPT_THEN_MAC",
    "NO_EXTENDED_MASTER_SECRET", "NO_QUERY_MTU", "NO_RENEGOTIATION", "NO_RX_CERTIFICATE_COMPRESSION",
    "NO_SESSION_RESUMPTION_ON_RENEGOTIATION", "NO_SSL_MASK", "NO_SSLv2", "NO_SSLv3", "NO_TICKET",
    "NO_TLSv1", "NO_TLSv1_1", "NO_TLSv1_2", "NO_TLSv1_3", "NO_TX_CERTIFICATE_COMPRESSION", "PKCS1_CHECK_1",
    "PKCS1_CHECK_2", "PREFER_NO_DHE_KEX", "PRIORITIZE_CHACHA", "SAFARI_ECDHE_ECDSA_BUG",
    "SERVER_PREFERENCE", "SINGLE_DH_USE", "SINGLE_ECDH_USE", "SSLEAY_080_CLIENT_DH_BUG",
    "SSLREF2_REUSE_CERT_TYPE_BUG", "TLSEXT_PADDING", "TLS_BLOCK_PADDING_BUG", "TLS_D5_BUG",
    "TLS_ROLLBACK_BUG",
)
# fmt: on

INCLUDES = """
#include <string.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include "age.h"
"""

TYPES = """
typedef ... SSL;
typedef ... SSL_CTX;
typedef ... SSL_METHOD;
typedef ... SSL_SESSION;
typedef ... SSL_CIPHER;

struct culvert_option { const char *name; uint64_t bits; ...; };
static const struct culvert_option culvert_options[];

static const int TLS1_VERSION;
static const int TLS1_1_VERSION;
static const int TLS1_2_VERSION;
static const int TLS1_3_VERSION;
static const int SSL3_VERSION;
static const int SSL_VERIFY_NONE;
static const int SSL_VERIFY_PEER;
static const int SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
static const int SSL_SESS_CACHE_OFF;
static const int SSL_SESS_CACHE_CLIENT;
static const int SSL_SESS_CACHE_SERVER;
static const int SSL_SESS_CACHE_NO_INTERNAL;
static const int SSL_MODE_RELEASE_BUFFERS;
static const int SSL_MODE_ENABLE_PARTIAL_WRITE;
static const int SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER;
static const int SSL_ERROR_WANT_READ;
static const int SSL_ERROR_WANT_WRITE;
static const int SSL_ERROR_ZERO_RETURN;
static const int SSL_CB_LOOP;
static const int SSL_CB_READ;
static const int SSL_CB_ALERT;
static const int SSL_MAX_SID_CTX_LENGTH;
"""

FUNCTIONS = """
const SSL_METHOD *TLS_method(void);
SSL_CTX *SSL_CTX_new(const SSL_METHOD *);
void SSL_CTX_free(SSL_CTX *);
int SSL_CTX_set_ex_data(SSL_CTX *, int, void *);
void *SSL_CTX_get_ex_data(const SSL_CTX *, int);
uint64_t SSL_CTX_set_options(SSL_CTX *, uint64_t);
uint64_t SSL_CTX_clear_options(SSL_CTX *, uint64_t);
uint64_t SSL_CTX_get_options(const SSL_CTX *);
long SSL_CTX_set_mode(SSL_CTX *, long);
void SSL_CTX_set_read_ahead(SSL_CTX *, int);
void SSL_CTX_set_default_read_buffer_len(SSL_CTX *, size_t);
int SSL_CTX_set_min_proto_version(SSL_CTX *, int);
int SSL_CTX_set_max_proto_version(SSL_CTX *, int);
int SSL_CTX_set_cipher_list(SSL_CTX *, const char *);
int SSL_CTX_set_ciphersuites(SSL_CTX *, const char *);
int SSL_CTX_set1_groups_list(SSL_CTX *, const char *);
void SSL_CTX_set_security_level(SSL_CTX *, int);
int SSL_CTX_get_security_level(const SSL_CTX *);
int SSL_CTX_use_cert_and_key(SSL_CTX *, X509 *, EVP_PKEY *, CULVERT_X509S *, int);
int SSL_CTX_set0_tmp_dh_pkey(SSL_CTX *, EVP_PKEY *);
long SSL_CTX_set_dh_auto(SSL_CTX *, int);
X509_STORE *SSL_CTX_get_cert_store(const SSL_CTX *);
int SSL_CTX_add_client_CA(SSL_CTX *, X509 *);
void SSL_CTX_set_verify(SSL_CTX *, int, int (*)(int, X509_STORE_CTX *));
void SSL_CTX_set_cert_verify_callback(SSL_CTX *, int (*)(X509_STORE_CTX *, void *), void *);
long SSL_CTX_set_session_cache_mode(SSL_CTX *, long);
long SSL_CTX_set_timeout(SSL_CTX *, long);
int SSL_CTX_set_session_id_context(SSL_CTX *, const unsigned char *, unsigned int);
int SSL_CTX_set_num_tickets(SSL_CTX *, size_t);
int culvert_ciphers_include_dh(SSL_CTX *);
int culvert_ciphers_include_anonymous(SSL_CTX *);
const char *culvert_cipher_at(SSL_CTX *, int);

SSL *SSL_new(SSL_CTX *);
void SSL_free(SSL *);
void SSL_set_accept_state(SSL *);
void SSL_set_connect_state(SSL *);
int SSL_is_server(const SSL *);
void SSL_set_bio(SSL *, BIO *, BIO *);
BIO *SSL_get_rbio(const SSL *);
int SSL_do_handshake(SSL *);
int SSL_read(SSL *, void *, int);
int SSL_write(SSL *, const void *, int);
int SSL_shutdown(SSL *);
int SSL_get_error(const SSL *, int);
int SSL_is_init_finished(const SSL *);
int SSL_set_ex_data(SSL *, int, void *);
void *SSL_get_ex_data(const SSL *, int);
int SSL_get_ex_data_X509_STORE_CTX_idx(void);
SSL_CTX *SSL_get_SSL_CTX(const SSL *);
int SSL_set_tlsext_host_name(SSL *, const char *);
const char *SSL_get_servername(const SSL *, int);
int SSL_set_session(SSL *, SSL_SESSION *);
SSL_SESSION *SSL_get_session(const SSL *);
int SSL_session_reused(const SSL *);
uint64_t SSL_get_options(const SSL *);
uint64_t SSL_set_options(SSL *, uint64_t);
int SSL_version(const SSL *);
const char *SSL_get_version(const SSL *);
const SSL_CIPHER *SSL_get_current_cipher(const SSL *);
const char *SSL_CIPHER_get_name(const SSL_CIPHER *);
int SSL_CIPHER_get_bits(const SSL_CIPHER *, int *);
long SSL_get_verify_result(const SSL *);
X509 *SSL_get0_peer_certificate(const SSL *);
CULVERT_X509S *SSL_get0_verified_chain(const SSL *);
int SSL_get_peer_tmp_key(SSL *, EVP_PKEY **);
int SSL_get_negotiated_group(SSL *);
const char *SSL_group_to_name(SSL *, int);
const char *SSL_state_string_long(const SSL *);
const char *SSL_alert_type_string_long(int);
const char *SSL_alert_desc_string_long(int);
size_t SSL_get_server_random(const SSL *, unsigned char *, size_t);

void SSL_SESSION_free(SSL_SESSION *);
int SSL_SESSION_up_ref(SSL_SESSION *);
int i2d_SSL_SESSION(SSL_SESSION *, unsigned char **);
SSL_SESSION *d2i_SSL_SESSION(SSL_SESSION **, const unsigned char **, long);
const unsigned char *SSL_SESSION_get_id(const SSL_SESSION *, unsigned int *);
int SSL_SESSION_get_protocol_version(const SSL_SESSION *);
int SSL_SESSION_is_resumable(const SSL_SESSION *);
long SSL_SESSION_get_time(const SSL_SESSION *);
long SSL_SESSION_set_time(SSL_SESSION *, long);
long SSL_SESSION_get_timeout(const SSL_SESSION *);
X509 *SSL_SESSION_get0_peer(SSL_SESSION *);
int SSL_SESSION_set_ex_data(SSL_SESSION *, int, void *);
void *SSL_SESSION_get_ex_data(const SSL_SESSION *, int);

SSL *culvert_session_new(SSL_CTX *, int);
void culvert_ask_python_about_sessions(SSL_CTX *, int);
int age_note(SSL *, SSL_SESSION *);
int culvert_recheck_tickets(SSL_CTX *, int, int);
int culvert_token(SSL *, unsigned char *);
int culvert_session_is_current(SSL_SESSION *);
int culvert_vouch(SSL *);
int culvert_is_vouched_for(SSL_SESSION *);
void culvert_doom(SSL *);
void culvert_tell_progress(SSL *);
void (*SSL_get_info_callback(const SSL *))(const SSL *, int, int);
int culvert_certificate_requested(SSL *);
const X509_NAME *culvert_peer_authority(SSL *, int);

extern "Python+C" int culvert_on_chain(X509_STORE_CTX *, void *);
extern "Python+C" int culvert_on_certificate(int, X509_STORE_CTX *);
extern "Python+C" int culvert_on_session_made(SSL *, SSL_SESSION *);
extern "Python+C" SSL_SESSION *culvert_on_session_wanted(SSL *, const unsigned char *, int, int *);
extern "Python+C" void culvert_on_session_spoilt(SSL_CTX *, SSL_SESSION *);
extern "Python+C" void culvert_on_progress(SSL *, int, int);
"""

_TABLE = "".join(f'#ifdef SSL_OP_{name}\n    {{"{name}", SSL_OP_{name}}},\n#endif\n' for name in OPTIONS)

CUSTOM = (
    """
struct culvert_option { const char *name; uint64_t bits; };
static const struct culvert_option culvert_options[] = {
"""
    + _TABLE
    + """    {NULL, 0}
};

int culvert_on_session_made(SSL *, SSL_SESSION *);
SSL_SESSION *culvert_on_session_wanted(SSL *, const unsigned char *, int, int *);
void culvert_on_session_spoilt(SSL_CTX *, SSL_SESSION *);
void culvert_on_progress(SSL *, int, int);

/* One call for what every connection needs: the session and its role. */
static SSL *culvert_session_new(SSL_CTX *context, int server)
{
    SSL *ssl = SSL_new(context);
    if (!ssl)
        return NULL;
    if (server)
        SSL_set_accept_state(ssl);
    else
        SSL_set_connect_state(ssl);
    return ssl;
}

/* A TLS 1.3 ticket that holds the whole session: the peer keeps it, nothing is stored (RFC 8446, 4.6.1). */
static int stateless(uint64_t options, const SSL_SESSION *session)
{
    return SSL_SESSION_get_protocol_version(session) >= TLS1_3_VERSION && !(options & SSL_OP_NO_TICKET);
}

static int session_made(SSL *ssl, SSL_SESSION *session)
{
    if (SSL_is_server(ssl) && stateless(SSL_get_options(ssl), session))
        return 0;
    age_keep(ssl, session);
    return culvert_on_session_made(ssl, session);
}

static SSL_SESSION *session_wanted(SSL *ssl, const unsigned char *id, int size, int *copy)
{
    SSL_SESSION *found = culvert_on_session_wanted(ssl, id, size, copy);
    if (!found || age_note(ssl, found))
        return found;
    SSL_SESSION_free(found);
    return NULL;
}

/* OpenSSL calls this whenever an established connection is freed without a close_notify of ours. */
static void session_spoilt(SSL_CTX *context, SSL_SESSION *session)
{
    if (!stateless(SSL_CTX_get_options(context), session) && !SSL_SESSION_has_ticket(session))
        culvert_on_session_spoilt(context, session);
}

/* The same of a client's connection, and after a fatal alert; a TLS 1.3 ticket is used up anyway. */
static void client_session_spoilt(SSL_CTX *context, SSL_SESSION *session)
{
    if (SSL_SESSION_get_protocol_version(session) < TLS1_3_VERSION)
        culvert_on_session_spoilt(context, session);
}

static void culvert_ask_python_about_sessions(SSL_CTX *context, int server)
{
    SSL_CTX_sess_set_new_cb(context, session_made);
    SSL_CTX_sess_set_remove_cb(context, server ? session_spoilt : client_session_spoilt);
    if (server)
        SSL_CTX_sess_set_get_cb(context, session_wanted);
}

/* A session is renewed each time it is used; it must not outlive its peer's certificate. */
static int culvert_session_is_current(SSL_SESSION *session)
{
    X509 *peer = SSL_SESSION_get0_peer(session);
    return !peer || (X509_cmp_current_time(X509_get0_notAfter(peer)) > 0 &&
                     X509_cmp_current_time(X509_get0_notBefore(peer)) < 0);
}

/* The mark of a session whose peer has passed all checks.  It lies in the session itself, so it goes wherever
 * that goes: into tickets, into the store of sessions, and into what a resumed session becomes. */
static const char VOUCHED[] = "culvert: the peer has passed";

static int culvert_vouch(SSL *ssl)
{
    SSL_SESSION *session = SSL_get_session(ssl);
    return session && SSL_SESSION_set1_ticket_appdata(session, VOUCHED, sizeof VOUCHED);
}

static int culvert_is_vouched_for(SSL_SESSION *session)
{
    void *mark = NULL;
    size_t size = 0;
    return session && SSL_SESSION_get0_ticket_appdata(session, &mark, &size) && size >= sizeof VOUCHED &&
           !memcmp(mark, VOUCHED, sizeof VOUCHED);
}

/* A name for the session that goes where the mark goes, and stays when the session is renewed; what happened
 * to its connections is remembered by it. */
enum { TOKEN = 16 };

static int name_session(SSL_SESSION *session)
{
    unsigned char named[sizeof VOUCHED + TOKEN];
    void *mark = NULL;
    size_t size = 0;
    if (!session || !SSL_SESSION_get0_ticket_appdata(session, &mark, &size))
        return 0;
    if (size && size != sizeof VOUCHED)
        return 1; /* it has one */
    if (size)
        memcpy(named, mark, size);
    return RAND_bytes(named + size, TOKEN) > 0 &&
           SSL_SESSION_set1_ticket_appdata(session, named, size + TOKEN);
}

/* Copy the TOKEN octets of a connection's session; 0 when it has none. */
static int culvert_token(SSL *ssl, unsigned char *token)
{
    SSL_SESSION *session = SSL_get_session(ssl);
    void *mark = NULL;
    size_t size = 0;
    if (!session || !SSL_SESSION_get0_ticket_appdata(session, &mark, &size))
        return 0;
    if (size != TOKEN && size != sizeof VOUCHED + TOKEN)
        return 0;
    memcpy(token, (unsigned char *)mark + size - TOKEN, TOKEN);
    return 1;
}

enum duty { MARKED_ONLY = 1, NAMED = 2 };

static int duties_slot = -1;

/* Of the context that a connection has by now; the callbacks are those of the one that it began with. */
static uintptr_t duties_of(const SSL *ssl)
{
    return duties_slot < 0 ? 0 : (uintptr_t)SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), duties_slot);
}

static SSL_TICKET_RETURN ticket_opened(SSL *ssl, SSL_SESSION *session, const unsigned char *name,
                                       size_t name_size, SSL_TICKET_STATUS status, void *unused)
{
    int opened = status == SSL_TICKET_SUCCESS || status == SSL_TICKET_SUCCESS_RENEW;
    int passed = !(duties_of(ssl) & MARKED_ONLY) || culvert_is_vouched_for(session);
    (void)name, (void)name_size, (void)unused;
    if (!opened)
        ERR_clear_error(); /* to SSL_get_error(3) a strange ticket is a failure of the handshake */
    if (!opened || !passed || !culvert_session_is_current(session) || !age_note(ssl, session))
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
}

static int ticket_closing(SSL *ssl, void *unused)
{
    (void)unused;
    age_keep(ssl, SSL_get_session(ssl));
    return !(duties_of(ssl) & NAMED) || name_session(SSL_get_session(ssl));
}

/* marked: open none but those of peers that have passed all checks; named: give each a token.  Both as long
 * as a connection is of this context.  Returns 0 when memory is out. */
static int culvert_recheck_tickets(SSL_CTX *context, int marked, int named)
{
    uintptr_t duties = (marked ? MARKED_ONLY : 0) | (named ? NAMED : 0);
    if (duties_slot < 0)
        duties_slot = CRYPTO_get_ex_new_index(CRYPTO_EX_INDEX_SSL_CTX, 0, NULL, NULL, NULL, NULL);
    if (duties_slot < 0 || !SSL_CTX_set_ex_data(context, duties_slot, (void *)duties))
        return 0;
    return SSL_CTX_set_session_ticket_cb(context, ticket_closing, ticket_opened, NULL);
}

static int allow_nothing(const SSL *ssl, const SSL_CTX *context, int operation, int bits, int nid,
                         void *other, void *unused)
{
    (void)ssl, (void)context, (void)operation, (void)bits, (void)nid, (void)other, (void)unused;
    return 0;
}

/* Make a handshake fail at its next step.  A look-up that finds nothing only makes it a full one, and no
 * answer of that callback is an error; but no handshake goes on without a single algorithm
 * (SSL_set_security_callback(3)). */
static void culvert_doom(SSL *ssl) { SSL_set_security_callback(ssl, allow_nothing); }

static void progress(const SSL *ssl, int where, int value)
{
    if (where & (SSL_CB_LOOP | SSL_CB_ALERT))
        culvert_on_progress((SSL *)ssl, where, value);
}

/* Tell Python each state and each alert.  The engine, which has a callback of its own where renegotiation is
 * refused, calls this one from there (secure.c). */
static void culvert_tell_progress(SSL *ssl) { SSL_set_info_callback(ssl, progress); }

/* Whether a server has asked for our certificate.  It names the signatures that it takes when it does, before
 * TLS 1.2 the kinds of keys. */
static int culvert_certificate_requested(SSL *ssl)
{
    return SSL_get_sigalgs(ssl, 0, NULL, NULL, NULL, NULL, NULL) > 0 ||
           SSL_get0_certificate_types(ssl, NULL) > 0;
}

/* The name of an authority whose certificates the peer takes, NULL behind the last. */
static const X509_NAME *culvert_peer_authority(SSL *ssl, int position)
{
    const STACK_OF(X509_NAME) *names = SSL_get0_peer_CA_list(ssl);
    return names && position < sk_X509_NAME_num(names) ? sk_X509_NAME_value(names, position) : NULL;
}

static const char *culvert_cipher_at(SSL_CTX *context, int position)
{
    STACK_OF(SSL_CIPHER) *ciphers = SSL_CTX_get_ciphers(context);
    if (position < 0 || position >= sk_SSL_CIPHER_num(ciphers))
        return NULL;
    return SSL_CIPHER_get_name(sk_SSL_CIPHER_value(ciphers, position));
}

static int culvert_ciphers_include_anonymous(SSL_CTX *context)
{
    STACK_OF(SSL_CIPHER) *ciphers = SSL_CTX_get_ciphers(context);
    for (int position = 0; position < sk_SSL_CIPHER_num(ciphers); position++)
        if (SSL_CIPHER_get_auth_nid(sk_SSL_CIPHER_value(ciphers, position)) == NID_auth_null)
            return 1;
    return 0;
}

static int culvert_ciphers_include_dh(SSL_CTX *context)
{
    STACK_OF(SSL_CIPHER) *ciphers = SSL_CTX_get_ciphers(context);
    for (int position = 0; position < sk_SSL_CIPHER_num(ciphers); position++) {
        int exchange = SSL_CIPHER_get_kx_nid(sk_SSL_CIPHER_value(ciphers, position));
        if (exchange == NID_kx_dhe || exchange == NID_kx_dhe_psk)
            return 1;
    }
    return 0;
}
"""
)
