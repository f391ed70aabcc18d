"""What a client may rely on, tested with the clients themselves over real sockets."""
