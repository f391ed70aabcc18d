"""Several processes behind the same ports: a supervisor that owns the sockets, and workers that serve from them."""
