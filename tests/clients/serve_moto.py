"""Runs inside the environment `moto`: moto's S3 on a free port of loopback, with one bucket, until standard input ends.

The first line on standard output is its address.
"""

from __future__ import annotations

import sys

import boto3
from moto.server import ThreadedMotoServer  # type: ignore[import-not-found, unused-ignore]  # in its own environment only

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
url = f"http://127.0.0.1:{port}"
credentials = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
boto3.client("s3", endpoint_url=url, **credentials).create_bucket(Bucket=sys.argv[1])
print(url, flush=True)
sys.stdin.read()
server.stop()
