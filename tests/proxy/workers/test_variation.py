"""A healthy model whose answers take as different times as those of models do: by two workers, at first, after a
reload, and after one of them was killed with `kill -9`, nobody is refused."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import pytest

from .serving import Load, model, policy_of, served

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_answers_that_differ_are_no_overload(tmp_path: Path) -> None:
    """A third of the answers take twice as long as the median, or half as long, and some five times."""
    draw = random.Random(1)
    with model(lambda: 0.25 * draw.lognormvariate(0.0, 0.7)) as port:
        policy = policy_of(port).replace(", limit: {min: 100}", "")
        with served(tmp_path, policy) as running, Load(running.port, clients=60) as load:
            load.more(1200)
            running.policy.write_text(policy.replace("owner: us", "owner: them"))
            running.process.send_signal(signal.SIGHUP)
            running.until("is in force")
            load.more(400)
            assert "429" not in load.answers
            os.kill(running.pids()[0], signal.SIGKILL)
            load.more(1200)
    assert set(load.answers) == {"200"}
