"""What Python sees of the keys of tickets (``native/tickets.h``)."""

from __future__ import annotations

INCLUDES = """
#include "tickets.h"
"""

TYPES = """
struct ticket_key {
    unsigned char name[16];
    unsigned char mac[32];
    unsigned char cipher[32];
    uint8_t mac_size;
    uint8_t cipher_size;
    uint8_t renew;
    ...;
};
"""

FUNCTIONS = """
int tickets_use(SSL_CTX *, const struct ticket_key *, uint32_t, int);
"""

CUSTOM = ""
