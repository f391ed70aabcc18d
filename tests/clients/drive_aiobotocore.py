"""Drives aiobotocore: boto3's asynchronous sibling, with `Accept: */*` and retries of its own."""

from __future__ import annotations

import asyncio
from typing import Any

from aiobotocore.config import AioConfig  # type: ignore[import-not-found, unused-ignore]  # in its own environment only
from aiobotocore.session import get_session  # type: ignore[import-not-found, unused-ignore]  # as above

from tests.clients.answers import STREAM, Ask, Done, asks, done, part, say, told, unpack


async def call(ask: Ask) -> Done:
    """Make one call, saying what happens while it happens."""
    retries = {"total_max_attempts": ask["attempts"]} if ask["attempts"] else None
    config = AioConfig(retries=retries, read_timeout=ask["read_timeout"])
    params = {**ask["params"], "Body": unpack(ask["body"])}
    response: dict[str, Any] = {}
    async with get_session().create_client("sagemaker-runtime", config=config) as sdk:
        try:
            if ask["operation"] == STREAM:
                response = await sdk.invoke_endpoint_with_response_stream(**params)
                say(began=done(response, b"", None))
                async for event in response["Body"]:
                    say(part=part(event))
                return done(response, b"", None)
            response = await sdk.invoke_endpoint(**params)
            async with response["Body"] as stream:
                return done(response, await stream.read(), None)
        except Exception as error:
            return done(response or getattr(error, "response", {}), b"", told(error))


async def main() -> None:
    """One call after another, in one loop."""
    for each in asks():
        say(done=await call(each))


if __name__ == "__main__":
    asyncio.run(main())
