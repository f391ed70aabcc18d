"""Objects under one prefix of an S3 bucket, written under conditions, through boto3 and off the event loop.

S3 gives three things that a shared state needs: reads and listings see every write that was answered before (since
December 2020), `If-None-Match: *` writes an object only where there is none, `If-Match` only where its ETag is still
the one that was read (Amazon S3 user guide, "Conditional writes"). Nothing is sent twice by itself: an answer that was
lost is an error, so that whoever asked knows that the write may have been done.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import boto3
from botocore import exceptions as botocore_errors
from botocore.config import Config

T = TypeVar("T")

_CONFIG = Config(connect_timeout=2, read_timeout=4, retries={"total_max_attempts": 1})
_REFUSED = {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "412", "409", "404"}
"""Codes of a write whose condition did not hold; 404 answers If-Match where the object is gone."""
THREADS = 4


@dataclass(frozen=True, slots=True)
class Object:
    """A body, and the tag that differs when the body does."""

    etag: str
    body: bytes


class Bucket:
    """Objects by key. Every method raises OSError, whose message says what to do."""

    def __init__(
        self,
        bucket: str,
        prefix: str,
        *,
        make_session: Callable[[], Any] = boto3.Session,
        s3_url: str | None = None,
    ) -> None:
        """Keys begin with `prefix` and a slash. `make_session` is called once, in a thread, when first needed."""
        self._where = {"Bucket": bucket}
        self._prefix = prefix + "/"
        self._make_session = make_session
        self._s3_url = s3_url
        self._lock = threading.Lock()
        self._client: Any = None
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="pointsman-s3")

    async def get(self, key: str) -> Object | None:
        """The object; None when there is none."""
        return await self._off_loop(lambda client: self._get(client, key))

    async def write(self, key: str, body: bytes, etag: str | None) -> bool:
        """Write it where its tag is `etag`, None: where there is none. False, and nothing is written, elsewhere."""
        condition = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}
        return await self._off_loop(lambda client: self._put(client, key, body, condition))

    async def put(self, key: str, body: bytes) -> None:
        """Write it, whatever is there."""
        await self._off_loop(lambda client: self._put(client, key, body, {}))

    async def delete(self, key: str) -> None:
        """It is no more, if it ever was."""
        await self._off_loop(lambda client: self._delete(client, key))

    async def keys(self, folder: str) -> Mapping[str, str]:
        """Tags of the objects whose keys begin with `folder`, by key and in order."""
        return await self._off_loop(lambda client: self._keys(client, folder))

    async def aclose(self) -> None:
        """End the threads once their current call is over."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        if self._client is not None:
            self._client.close()

    def _get(self, client: Any, key: str) -> Object | None:
        try:
            answer = client.get_object(Key=self._prefix + key, **self._where)
        except botocore_errors.ClientError as error:
            if _code(error) == "NoSuchKey":
                return None
            raise
        return Object(answer["ETag"], answer["Body"].read())

    def _put(self, client: Any, key: str, body: bytes, condition: Mapping[str, str]) -> bool:
        try:
            client.put_object(Key=self._prefix + key, Body=body, **condition, **self._where)
        except botocore_errors.ClientError as error:
            if condition and _code(error) in _REFUSED:
                return False
            raise
        return True

    def _delete(self, client: Any, key: str) -> None:
        client.delete_object(Key=self._prefix + key, **self._where)

    def _keys(self, client: Any, folder: str) -> dict[str, str]:
        found: dict[str, str] = {}
        asked = {"Prefix": self._prefix + folder}
        while True:
            answer = client.list_objects_v2(**asked, **self._where)
            listed = answer.get("Contents", [])
            found |= {one["Key"].removeprefix(self._prefix): one["ETag"] for one in listed}
            if not answer["IsTruncated"]:
                return found
            asked["StartAfter"] = listed[-1]["Key"]

    async def _off_loop(self, call: Callable[[Any], T]) -> T:
        def whole() -> T:
            with self._lock:
                if self._client is None:
                    self._client = self._make_session().client("s3", endpoint_url=self._s3_url, config=_CONFIG)
            return call(self._client)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, whole)
        except (botocore_errors.ClientError, botocore_errors.BotoCoreError) as error:
            raise OSError(_cause(error)) from error
        except KeyError as error:
            msg = f"an answer without {error} is none of S3's: check AWS_ENDPOINT_URL_S3 and what stands before it"
            raise OSError(msg) from error


def _code(error: botocore_errors.ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown error"))


def _cause(error: botocore_errors.ClientError | botocore_errors.BotoCoreError) -> str:
    """One line without what the service or a credential process said, but for its error's code."""
    if isinstance(error, botocore_errors.ClientError):
        return (
            f"S3 answered {_code(error)}: check the bucket, and that this process may s3:ListBucket, s3:GetObject,"
            " s3:PutObject and s3:DeleteObject there"
        )
    if isinstance(error, botocore_errors.HTTPClientError | botocore_errors.ConnectionError):
        address = error.kwargs.get("endpoint_url", "its address")
        return f"S3 can't be reached at {address}: check network, region and AWS_ENDPOINT_URL_S3"
    return f"no AWS credentials or region for S3 ({type(error).__name__}): check the process's role or AWS_PROFILE"
