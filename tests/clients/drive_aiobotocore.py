"""Drives aiobotocore: boto3's asynchronous sibling, with `Accept: */*` and retries of its own."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from aiobotocore.config import AioConfig  # type: ignore[import-not-found, unused-ignore]  # in its own environment only
from aiobotocore.session import get_session  # type: ignore[import-not-found, unused-ignore]  # as above

from tests.clients.answers import STREAM, Ask, Done, asks, done, part, say, told, unpack


class Clients:
    """One client for each setting, as a program would have; they live as long as `stack`."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self._made: dict[tuple[int | None, float], Any] = {}

    async def get(self, attempts: int | None, read_timeout: float) -> Any:
        key = (attempts, read_timeout)
        if key not in self._made:
            config = AioConfig(
                retries={"total_max_attempts": attempts} if attempts else None, read_timeout=read_timeout
            )
            made = get_session().create_client("sagemaker-runtime", config=config)
            self._made[key] = await self._stack.enter_async_context(made)
        return self._made[key]


async def call(sdk: Any, ask: Ask) -> Done:
    """Make one call, saying what happens while it happens."""
    params = {**ask["params"], "Body": unpack(ask["body"])}
    response: dict[str, Any] = {}
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
    async with AsyncExitStack() as stack:
        clients = Clients(stack)
        for each in asks():
            say(done=await call(await clients.get(each["attempts"], each["read_timeout"]), each))


if __name__ == "__main__":
    asyncio.run(main())
