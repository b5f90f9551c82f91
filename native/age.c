/* How old the proof is that a resumed session stands for.
 *
 * A resumed handshake gives the peer a fresh session, and TLS 1.3 does so each time: who came again before each of them
 * ended would never be verified again, whatever became of his certificate, its issuer or their revocation lists
 * (RFC 8446, 4.6.1, wants a limit).  So where peers are verified a session that comes of another is as old as that one.
 */
#include "age.h"

#include <stdint.h>

static int age_slot(void) {
    static int slot = -1;
    if (slot < 0)
        slot = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    return slot;
}

/* This session may be resumed in the connection; the last one that is noted is.  Returns 0 when memory is out. */
int age_note(SSL *ssl, SSL_SESSION *offered) {
    return SSL_set_ex_data(ssl, age_slot(), (void *)(intptr_t)SSL_SESSION_get_time(offered));
}

/* The connection has a new session, which nobody has seen yet. */
void age_keep(SSL *ssl, SSL_SESSION *renewed) {
    intptr_t since = (intptr_t)SSL_get_ex_data(ssl, age_slot());
    if (since && SSL_session_reused(ssl) && SSL_get_verify_mode(ssl) != SSL_VERIFY_NONE)
        SSL_SESSION_set_time(renewed, (long)since);
}
