"""Where URLs lead, and what requests to them are made of."""

from __future__ import annotations

import pytest

from backends.http.arriving import TransportError
from backends.http.roads import lines, message_of, road_to


def test_a_road_has_what_requests_to_its_url_begin_with() -> None:
    """Path and query as written; the host without user, and without the scheme's own port."""
    road = road_to("http://user@h.example:80/a%3Ab?q=1")
    assert (road.tls, road.host, road.port) == (False, "h.example", 80)
    headers = (("X-One", "1"), ("X-Two", "\udcff"))
    assert message_of("POST", road, lines(headers), 2, b"hi") == (
        b"POST /a%3Ab?q=1 HTTP/1.1\r\nHost: h.example\r\nX-One: 1\r\nX-Two: \xff\r\nContent-Length: 2\r\n\r\nhi"
    )


@pytest.mark.parametrize("value", ["1\r\nX-Two: 2", "1\nX", "1\rX", "1\0"])
def test_no_field_ends_its_line(value: str) -> None:
    """Its number of fields is what a request has been given."""
    with pytest.raises(TransportError, match="line break"):
        message_of("POST", road_to("http://h"), lines((("X", value),)), 1, b"")
