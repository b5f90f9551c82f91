/* The context that a connection began with.
 *
 * A server name may change the context of a connection (SSL_set_SSL_CTX(3)).  Sessions are kept, and tickets sealed,
 * where it began: OpenSSL has that context in the connection, and holds it, but gives it to nobody.
 */
#include "home.h"

static int home_slot(void) {
    static int slot = -1;
    if (slot < 0)
        slot = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    return slot;
}

SSL_CTX *home_of(SSL *ssl) {
    SSL_CTX *home = SSL_get_ex_data(ssl, home_slot());
    return home ? home : SSL_get_SSL_CTX(ssl);
}

/* The context is about to be changed, for the first time.  Returns 0 when memory is out. */
int home_keep(SSL *ssl) { return SSL_set_ex_data(ssl, home_slot(), SSL_get_SSL_CTX(ssl)); }
