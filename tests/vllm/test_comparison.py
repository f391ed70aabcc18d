"""What comparing copies catches on a real engine, and that it leaves a model alone that is the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from .candidates import ASKED, Trial, running

pytestmark = [pytest.mark.slow, pytest.mark.vllm, pytest.mark.timeout(900)]


async def test_broken_candidates_are_caught_and_the_same_model_is_not(tmp_path: Path) -> None:
    """A wrong chat template, a lost end token and changed weights are called red within 42 requests each.

    Here it takes 14, 27 and 23. The same model, sampling at a temperature of 0.8 so that no two answers are alike, is
    not. One test, since the engines take longer to start than to be asked.
    """
    async with running(tmp_path) as engines:
        broken = Trial("template", "no-end", "weights")
        await broken.run(engines, temperature=0.0)
        same = Trial("good")
        await same.run(engines, temperature=0.8, asked=ASKED[:9])
    print({name: f"red after {took}: {broken.why[name]}" for name, took in broken.took.items()}, same.why)
    assert broken.left == ()
    assert "prompt_tokens" in broken.why["template"]
    assert "finish" in broken.why["no-end"]
    assert "text" in broken.why["weights"]
    assert same.took == {}
