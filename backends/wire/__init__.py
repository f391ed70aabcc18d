"""Wire formats, pure and in both directions: we are server and client of each."""
