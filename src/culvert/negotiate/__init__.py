"""Application protocols before or inside TLS, without input or output: no socket, no clock, no await.

A protocol is a generator, the *script*, that yields steps (``steps``) and returns an Outcome.
``Negotiation`` (``negotiation``) runs one script: it says which step it waits for, takes octets and
answers, and raises a PeerError (``failures``) when the peer leaves the script.  Whoever drives it owns the
sockets and the deadlines.  ``registry`` finds the scripts of a protocol by its name and mode.

Import from the modules: a service that speaks no protocol loads ``failures`` alone.
"""
