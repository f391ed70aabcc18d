"""What a request costs in CPU time, beside other servers that pass requests on."""
