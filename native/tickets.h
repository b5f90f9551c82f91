/* The keys that session tickets are sealed with; see tickets.c. */
#ifndef CULVERT_TICKETS_H
#define CULVERT_TICKETS_H

#include <stdint.h>
#include <openssl/ssl.h>

#define TICKET_NAME_SIZE 16
#define TICKET_SECRET_MAX 32

struct ticket_key {
    unsigned char name[TICKET_NAME_SIZE];
    unsigned char mac[TICKET_SECRET_MAX];
    unsigned char cipher[TICKET_SECRET_MAX];
    uint8_t mac_size;        /* 16 or 32 */
    uint8_t cipher_size;     /* the same: AES-128, AES-256 */
    uint8_t renew;           /* a ticket under it is replaced when it is used */
};

int tickets_use(SSL_CTX *context, const struct ticket_key *keys, uint32_t count, int nameless);

#endif
