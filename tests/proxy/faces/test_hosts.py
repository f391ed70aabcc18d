"""By which names the admin port may be asked."""

from __future__ import annotations

import logging

import pytest

from proxy.faces.hosts import Hosts


def refused(host: str, names: str | None = None) -> bool:
    return Hosts(names).refusal((("Accept", "*/*"), ("Host", host))) is not None


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:8081",
        "10.1.2.3",
        "[::1]:8081",
        "[fe80::1]",
        "localhost",
        "localhost.",
        "127.0.0.1.",
        "LocalHost:8081",
        "pointsman.localhost:1",
        "pointsman:8081",
        "",
        ":8081",
    ],
)
def test_addresses_and_names_of_this_network_are_answered(host: str) -> None:
    """As scrapers and operators write them; a page on the internet can have none of these names."""
    assert not refused(host)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:8081",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "999.0.0.1",
        "[evil.example]",
        "[evil]",
        "a:b",
        "127.0.0.1:8081, evil.example",
    ],
)
def test_any_other_name_is_refused(host: str) -> None:
    """It may be a web page's own, which leads here by now."""
    assert refused(host)


def test_names_that_the_operator_gave_are_answered() -> None:
    """In any case of letters, with any port; a star stands for every name."""
    given = "metrics.internal, Proxy.Example.Com"
    assert not refused("metrics.internal:9000", given)
    assert not refused("proxy.example.com", given)
    assert refused("other.internal", given)
    assert refused("sub.metrics.internal", given)
    assert not refused("evil.example", "*")


def test_no_name_at_all_is_no_browsers() -> None:
    """HTTP/1.0, as simple health checks send it."""
    assert Hosts().refusal(()) is None


def test_a_refusal_says_what_to_do_and_the_log_does_once(caplog: pytest.LogCaptureFixture) -> None:
    """However often a page asks; what it sends cannot grow the answer or break a line."""
    hosts = Hosts()
    with caplog.at_level(logging.WARNING, "pointsman.admin"):
        told = [hosts.refusal((("host", name),)) for name in ("evil.example", "e." * 5000, "a.b\x1b[0m")]
    assert all(each is not None and "--admin-names" in each and len(each) < 400 for each in told)
    assert "\x1b" not in str(told[2])
    assert len(caplog.records) == 1
