"""Background duties that keep targets ready: what is due, one warm-up, what it showed, and who of a fleet does it."""
