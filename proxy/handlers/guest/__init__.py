"""What runs beside a customer's code: values, loading, conventions, and the worker's side of the wire.

It needs the standard library and nothing else, since in process mode it is loaded by path into an interpreter that has
the customer's packages and none of ours.
"""
