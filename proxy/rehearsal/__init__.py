"""A recorded trace, replayed through the real proxy against stand-ins, in virtual time."""
