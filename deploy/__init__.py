"""Control plane: put a model where the policy says. It arrives with its issue."""
