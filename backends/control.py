"""What SageMaker's control plane says of an endpoint, through boto3 and off the event loop.

`sagemaker:DescribeEndpoint` and `sagemaker:DescribeInferenceComponent` are all that is asked. Answers are looked at for
what runs, not for what was wished for: an endpoint that scales is `Updating` and serves all the while.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cachetools import LRUCache

from policies.table import EndpointSpec, Target

from .aws import CredentialsError, CredentialSource, own_session
from .wire.sigv4 import Credentials

SERVING = frozenset({"InService", "Updating", "SystemUpdating", "RollingBack"})
"""Statuses in which an endpoint or component answers (API reference, DescribeEndpoint)."""
CLIENTS = 32


class ControlPlane:
    """Reads of SageMaker's control plane."""

    def __init__(
        self,
        credentials: CredentialSource,
        *,
        make_session: Callable[[], Any] = own_session,
        url: str | None = None,
    ) -> None:
        """`make_session` is called once, in a thread, when first needed; `url` replaces SageMaker's own address."""
        self._credentials = credentials
        self._make_session = make_session
        self._url = url
        self._lock = threading.Lock()
        self._session: Any = None
        self._clients: LRUCache[tuple[str, Credentials], Any] = LRUCache(maxsize=CLIENTS)
        self._executor = ThreadPoolExecutor(2, thread_name_prefix="pointsman-control")

    async def instances(self, target: Target, spec: EndpointSpec) -> float:
        """Instances in service, of a component its copies; 0 for one that does not serve.

        Raises OSError, whose message says what to do.
        """
        try:
            credentials = await self._credentials.get(spec.role)
        except CredentialsError as error:
            raise OSError(error.cause) from error
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, self._describe, target, spec, credentials)

    async def aclose(self) -> None:
        """End the threads once their current call is over."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _describe(self, target: Target, spec: EndpointSpec, credentials: Credentials) -> float:
        from botocore import exceptions as botocore_errors  # as late as in aws.py, and for the same reason

        try:
            client = self._client(target.region or "", credentials)
            if spec.component is not None:
                found = client.describe_inference_component(InferenceComponentName=spec.component)
                serves = found["InferenceComponentStatus"] in SERVING
                return float(found.get("RuntimeConfig", {}).get("CurrentCopyCount", 0)) if serves else 0.0
            found = client.describe_endpoint(EndpointName=spec.endpoint)
        except botocore_errors.ClientError as error:
            code = error.response.get("Error", {}).get("Code", "unknown error")
            msg = f"SageMaker answered {code}: does it exist, and may this process sagemaker:Describe* it?"
            raise OSError(msg) from error
        except botocore_errors.BotoCoreError as error:
            msg = f"SageMaker's control plane can't be reached ({type(error).__name__}): check network and region"
            raise OSError(msg) from error
        if found["EndpointStatus"] not in SERVING:
            return 0.0
        return float(sum(_units(variant) for variant in found.get("ProductionVariants", [])))

    def _client(self, region: str, credentials: Credentials) -> Any:
        from botocore.config import Config

        config = Config(connect_timeout=2, read_timeout=4, retries={"total_max_attempts": 2, "mode": "standard"})
        with self._lock:
            found = self._clients.get((region, credentials))
            if found is None:
                if self._session is None:
                    self._session = self._make_session()
                found = self._clients[region, credentials] = self._session.client(
                    "sagemaker",
                    region_name=region or None,
                    endpoint_url=self._url,
                    config=config,
                    aws_access_key_id=credentials.access_key,
                    aws_secret_access_key=credentials.secret_key,
                    aws_session_token=credentials.token,
                )
            return found


def _units(variant: Any) -> float:
    """Instances of a variant; of a serverless one, which has none, how many requests it takes at once."""
    serverless = variant.get("CurrentServerlessConfig") or {}
    return float(variant.get("CurrentInstanceCount") or serverless.get("MaxConcurrency", 0))
