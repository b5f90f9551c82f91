"""A running service, and one tunnel's life from accept to close."""
