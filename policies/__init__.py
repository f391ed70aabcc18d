"""What should happen, decided without I/O: no await, no clock, no network, no environment.

`load` turns YAML text into a frozen `RouteTable`; `choose` turns a route and what is known of its targets into a
`Plan`, and a failure into the next one. Whatever varies (time, randomness, what the world told us) is an argument.
"""
