"""PURE. The cheapest request that makes a model infer: one token for a one-character prompt, in the target's dialect.

Only a successful inference keeps an imported model loaded; describing it or asking for something invalid does not. A
body is what a client of that dialect would send, so nothing is translated on its way.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from backends.base import Call, Invocation
from policies.table import Route, Target

BODIES: Mapping[str, bytes] = MappingProxyType(
    {
        "openai-chat": b'{"messages":[{"role":"user","content":"."}],"max_tokens":1}',
        "openai-completions": b'{"prompt":".","max_tokens":1}',
        "bedrock-completion": b'{"prompt":".","max_gen_len":1}',
        "tgi": b'{"inputs":".","parameters":{"max_new_tokens":1}}',
        "lmi": b'{"inputs":".","parameters":{"max_new_tokens":1}}',
    }
)
"""By dialect. `opaque` has none: nobody knows what such a target reads."""


def question(route: Route, target: Target, request_id: str) -> Call:
    """The warm-up of `target` in the name of `route`. Raises KeyError for a dialect without a cheapest request."""
    body = BODIES[target.speaks]
    invocation = Invocation(route.endpoint, route.component, streaming=False, body=body, request_id=request_id)
    return Call(invocation, body, "application/json", None, None, speaks=target.speaks)
