"""Virtual environments for test parts that must not share one with the product: SDKs of several releases, real vLLM.

One hashed lock per environment (`tests/clients/NAME.lock`; vLLM's is the product's own), installed and cached by
`deploy.engine.environment`. What cannot be built is an error, never a skip. `python -m tests.environments [NAME...]`
builds in advance.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import deploy.engine
from deploy.engine import COMPLETE, VLLM_LOCK, EnvironmentFailedError, Say, alone, fingerprint

__all__ = ["COMPLETE", "EnvironmentFailedError", "Say", "alone", "cache_root", "environment", "fingerprint", "lock_of"]

LOCKS = Path(__file__).parent / "clients"
NAMES = ("boto3-newest", "boto3-1.43", "aiobotocore", "awscli", "openai", "moto", "vllm")


def cache_root() -> Path:
    """Where environments and made models are kept between runs."""
    return deploy.engine.cache_root(os.environ)


def lock_of(name: str, locks: Path = LOCKS) -> Path:
    """The lock of environment `name`."""
    return VLLM_LOCK if name == "vllm" else locks / f"{name}.lock"


def environment(name: str, *, say: Say | None = None, locks: Path = LOCKS, cache: Path | None = None) -> Path:
    """The python of environment `name`, built now if its lock has not been built on this machine before.

    A build that fails is tried once more: what pip has fetched by then it has, and registries have bad moments.

    Raises:
        EnvironmentFailedError: there is no such lock, or the installer failed.
    """
    lock = lock_of(name, locks)
    if not lock.exists():
        known = ", ".join(sorted(path.stem for path in locks.glob("*.lock")))
        raise EnvironmentFailedError(f"no lock {lock}; there are: {known}")
    try:
        return deploy.engine.environment(lock, cache or cache_root(), say=say)
    except EnvironmentFailedError as error:
        if say:
            say(f"{error}; once more")
        return deploy.engine.environment(lock, cache or cache_root(), say=say)


if __name__ == "__main__":
    for wanted in sys.argv[1:] or NAMES:
        print(environment(wanted, say=print))
