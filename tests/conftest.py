"""What every test gets: an environment without the developer's own settings; and what several need: a fresh checkout.

A session-wide fixture that installs packages runs before this and keeps the machine's proxy settings; a test does not.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import traceback
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.checkout import READY, SETUP_SECONDS, Program, copy, ended, started, variables

OURS_TO_KEEP = frozenset({"POINTSMAN_ENV_CACHE"})
"""Where built environments are kept: about the test run, not about the product."""
ROOT = Path(__file__).parent.parent
PRODUCT = ("policies", "backends", "warmers", "deploy", "proxy")


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


class OfOurs(logging.Handler):
    """What callbacks of the product have raised: their loop logs it, and goes on."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.raised: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        said, error = record.getMessage(), record.exc_info[1] if record.exc_info else None
        later = said.startswith(("Task exception", "Future exception"))  # told by the collector, in some other test
        if error is None or later or isinstance(error, asyncio.CancelledError):
            return
        frames = traceback.extract_tb(error.__traceback__)
        if any(Path(frame.filename).is_relative_to(ROOT / top) for frame in frames for top in PRODUCT):
            self.raised.append(said)


@pytest.fixture(autouse=True)
def nothing_fails_unheard() -> Iterator[None]:
    """A callback that fails costs no test anything by itself: here it does."""
    handler, log = OfOurs(), logging.getLogger("asyncio")
    log.addHandler(handler)
    yield
    log.removeHandler(handler)
    assert handler.raised == []


def not_about_speed(record: logging.LogRecord) -> bool:
    """Whether a line of asyncio's log says something else than that the machine was busy for a tenth of a second."""
    return not str(record.msg).startswith("Executing %s took")


def pytest_configure() -> None:
    """The loops run in debug mode, whose word about slow steps would be in what tests find in the log.

    Hypothesis calls an example that took a fifth of a second a failure, which says nothing on a busy machine.
    """
    settings.register_profile("any machine", deadline=None)
    settings.load_profile("any machine")
    logging.getLogger("asyncio").addFilter(not_about_speed)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Of several processes: who runs what."""
    from tests.sharing import Sharing

    return Sharing(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of several processes: what comes first. All of them have to see one order; alone it is that of the files."""
    if hasattr(config, "workerinput"):
        from tests.sharing import ordered

        items[:] = ordered(items)


def pytest_collection_finish() -> None:
    """Ten thousand collected tests are no rubbish: looked through, they would stop a test's loop for half a second."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that skips itself has failed: what a test needs it builds, and what can't be built is an error."""
    report = yield
    if report.skipped:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and a skipped test holds nothing: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout in which `make setup` has run, as on a fresh machine."""
    folder = tmp_path_factory.mktemp("checkout")
    copy(folder)
    done = ended(["make", "setup"], folder, SETUP_SECONDS)
    if done.returncode:  # registries have bad moments; what pip has fetched by then it has
        done = ended(["make", "setup"], folder, SETUP_SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="session")
def quickstart(checkout: Path) -> Iterator[Program]:
    """`make run` in that copy, on free ports, with a broken AWS profile that it must not look at."""
    command = ["make", "run", "ARGS=--port 0 --admin-port 0 --emulator-port 0"]
    with started(command, checkout, READY, variables(AWS_PROFILE="missing", AWS_CONFIG_FILE="/nowhere")) as program:
        yield program
