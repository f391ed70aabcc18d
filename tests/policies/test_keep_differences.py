"""`keep_differences`: read, compiled, and refused where it can't do what it is for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from policies.errors import PolicyError
from policies.load import load_policy
from policies.redaction import Keeping, Redaction

SHADOW = [{"shadow": "5%", "hold": "24h"}, {"share": "100%"}]


def _policy(keep: Any, steps: Any = SHADOW) -> str:
    target = {"kind": "vllm", "url": "http://127.0.0.1:1", "model": "m"}
    migrate = {"to": "new", "steps": steps, "keep_differences": keep}
    return json.dumps(
        {
            "apiVersion": "pointsman/v1",
            "account": "123456789012",
            "targets": {"old": target, "new": target},
            "endpoints": {"chat": {"serve_from": "old", "migrate": migrate}},
        }
    )


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({"folder": "/kept", "redact": "nothing"}, Keeping("/kept", Redaction())),
        (
            {"folder": "/kept", "redact": {"keys": ["User"], "patterns": ["a+"]}, "most": "1MiB", "below": "50%"},
            Keeping("/kept", Redaction(frozenset({"user"}), ("a+",)), 1024**2, 0.5),
        ),
        ({"folder": "/kept", "redact": {"mask": True}}, Keeping("/kept", Redaction(mask=True))),
    ],
)
def test_rules_are_compiled(written: Any, expected: Keeping) -> None:
    """What the policy says is what the member of the migration has."""
    table = load_policy(_policy(written), {}, "policy.yaml")
    assert table.migrations["chat"].members[0].differences == expected


@pytest.mark.parametrize(
    ("written", "steps", "said"),
    [
        ({"folder": "/kept"}, SHADOW, "redact"),
        ({"folder": "kept", "redact": "nothing"}, SHADOW, "folder"),
        ({"folder": "/kept", "redact": {}}, SHADOW, "has a `redact` without a rule"),
        ({"folder": "/kept", "redact": {"patterns": ["("]}}, SHADOW, "is no regular expression"),
        ({"folder": "/kept", "redact": "everything"}, SHADOW, "redact"),
        ({"folder": "/kept", "redact": "nothing"}, [{"share": "100%"}], "no step has a `shadow`"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(written: Any, steps: Any, said: str) -> None:
    """Bodies are kept only where the policy says how they are redacted, and where there are copies at all."""
    with pytest.raises(PolicyError) as refused:
        load_policy(_policy(written, steps), {}, "policy.yaml")
    assert all("migrate" in problem.path for problem in refused.value.problems)
    assert any(said in f"{problem.path}: {problem.message}" for problem in refused.value.problems)
