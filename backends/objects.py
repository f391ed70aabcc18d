"""Texts in S3, which policies are: read through boto3, off the event loop.

A text can be asked for by its tag alone, so that a policy that has not changed costs a look. What boto3 finds for
credentials is its own affair here: a read is rare, and no request waits for one.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from .aws import cause_of, client_config, own_session

OBJECT_LIMIT = 4 * 1024 * 1024
"""Bytes of the longest text that is read."""


class ObjectReader:
    """Reads texts from S3, with one client made when first needed."""

    def __init__(self, *, make_session: Callable[[], Any] = own_session, s3_url: str | None = None) -> None:
        self._make_session = make_session
        self._s3_url = s3_url
        self._lock = threading.Lock()
        self._client: Any = None

    async def read(self, url: str, *, whole: bool) -> tuple[str, str]:
        """ETag and text of the object `url` (`s3://bucket/key`); the text is empty unless `whole`.

        Raises OSError, whose message says what to do, when it can't be had, isn't UTF-8 or is over `OBJECT_LIMIT`.
        """
        return await asyncio.to_thread(self._read, url, whole)

    def _read(self, url: str, whole: bool) -> tuple[str, str]:
        from botocore import exceptions as botocore_errors

        parts = urlsplit(url)
        where = {"Bucket": parts.netloc, "Key": parts.path.lstrip("/")}
        if parts.scheme != "s3" or not all(where.values()):
            message = "not an address of an S3 object: write s3://bucket/key"
            raise OSError(message)
        try:
            with self._lock:
                if self._client is None:
                    self._client = self._make_session().client("s3", endpoint_url=self._s3_url, config=client_config())
            if not whole:
                return self._client.head_object(**where)["ETag"], ""
            answer = self._client.get_object(**where)
            body: bytes = answer["Body"].read(OBJECT_LIMIT + 1)
        except botocore_errors.ClientError as error:
            code = error.response.get("Error", {}).get("Code", "unknown error")
            message = f"S3 answered {code}: check the address, and that this process may read it (s3:GetObject)"
            raise OSError(message) from error
        except (botocore_errors.HTTPClientError, botocore_errors.ConnectionError) as error:
            # The credentials were had: it is S3 that can't be reached, and the address of an endpoint is no secret.
            address = error.kwargs.get("endpoint_url", "its address")
            message = f"S3 can't be reached at {address}: check network, region and AWS_ENDPOINT_URL_S3"
            raise OSError(message) from error
        except botocore_errors.BotoCoreError as error:
            raise OSError(cause_of(error, None)) from error
        if len(body) > OBJECT_LIMIT:
            message = f"longer than {OBJECT_LIMIT} bytes"
            raise OSError(message)
        try:
            return answer["ETag"], body.decode()
        except UnicodeDecodeError as error:
            message = "not UTF-8 text"
            raise OSError(message) from error
