"""A real engine on this machine: vLLM for CPUs in an environment of its own, a small model, and the process itself.

Nothing here is needed to route to an engine that runs elsewhere. `environment` and `smollm2` install, once, outside of
every checkout; `vllm` starts, watches and ends.
"""

from __future__ import annotations

from pathlib import Path

from .environment import (
    COMPLETE,
    EnvironmentFailedError,
    Say,
    alone,
    cache_root,
    environment,
    fingerprint,
    is_complete,
    release_of,
)
from .interpreter import ENGINE_RELEASE, engine_python
from .smollm2 import weights, weights_are_there
from .vllm import Engine, EngineFailedError, EnginePlan, free_port, running_vllm

VLLM_LOCK = Path(__file__).with_name("vllm.lock")
"""vLLM 0.32.0 with PyTorch for CPUs and all they need, each with its hashes."""

__all__ = [
    "COMPLETE",
    "ENGINE_RELEASE",
    "VLLM_LOCK",
    "Engine",
    "EngineFailedError",
    "EnginePlan",
    "EnvironmentFailedError",
    "Say",
    "alone",
    "cache_root",
    "engine_python",
    "environment",
    "fingerprint",
    "free_port",
    "is_complete",
    "release_of",
    "running_vllm",
    "weights",
    "weights_are_there",
]
