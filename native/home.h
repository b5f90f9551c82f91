/* The context that a connection began with; see home.c. */
#ifndef CULVERT_HOME_H
#define CULVERT_HOME_H

#include <openssl/ssl.h>

SSL_CTX *home_of(SSL *ssl);
int home_keep(SSL *ssl);

#endif
