"""What every test gets: an environment without the developer's own settings.

A session-wide fixture that installs packages runs before this and keeps the machine's proxy settings; a test does not.
"""

from __future__ import annotations

import os

import pytest

OURS_TO_KEEP = frozenset({"POINTSMAN_ENV_CACHE"})
"""Where built environments are kept: about the test run, not about the product."""


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No AWS profile, credentials or endpoint, no proxy and no POINTSMAN_ setting of whoever runs the tests."""
    for name in list(os.environ):
        ours = name.startswith("POINTSMAN_") and name not in OURS_TO_KEEP
        if ours or name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    # Empty files, so that boto3 does not find ~/.aws, and no look at the instance's metadata service.
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
