"""The contracts that are served, each a thin layer over `backends.http.edge`."""
