"""The two halves of HTTP: `edge` serves, `transport` sends."""
