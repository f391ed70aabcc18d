"""Drives boto3: an unchanged program, told by the environment alone where the service is."""

from __future__ import annotations

from functools import cache
from typing import Any

import boto3
from botocore.config import Config

from tests.clients.answers import STREAM, Ask, Done, asks, done, part, say, told, unpack


@cache
def client(attempts: int | None, read_timeout: float) -> Any:
    """One client for each setting, as a program would have."""
    retries = {"total_max_attempts": attempts} if attempts else None
    return boto3.client("sagemaker-runtime", config=Config(retries=retries, read_timeout=read_timeout))


def call(ask: Ask) -> Done:
    """Make one call, saying what happens while it happens."""
    sdk = client(ask["attempts"], ask["read_timeout"])
    params = {**ask["params"], "Body": unpack(ask["body"])}
    response: dict[str, Any] = {}
    try:
        if ask["operation"] == STREAM:
            response = sdk.invoke_endpoint_with_response_stream(**params)
            say(began=done(response, b"", None))
            for event in response["Body"]:
                say(part=part(event))
            return done(response, b"", None)
        response = sdk.invoke_endpoint(**params)
        return done(response, response["Body"].read(), None)
    except Exception as error:
        return done(response or getattr(error, "response", {}), b"", told(error))


if __name__ == "__main__":
    for each in asks():
        say(done=call(each))
