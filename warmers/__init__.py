"""Background duties that keep targets ready and migrations moving. They arrive with their issue."""
