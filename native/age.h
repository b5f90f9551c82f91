/* How old the proof is that a resumed session stands for; see age.c. */
#ifndef CULVERT_AGE_H
#define CULVERT_AGE_H

#include <openssl/ssl.h>

int age_note(SSL *ssl, SSL_SESSION *offered);
void age_keep(SSL *ssl, SSL_SESSION *renewed);

#endif
