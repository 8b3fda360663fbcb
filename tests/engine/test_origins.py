"""Which pages may talk to the server."""

import pytest

from djactors.engine import OriginPolicy
from djactors.net import Request

ORIGIN_TABLE = [
    # Origin, Host, allowed origins, verdict
    ("http://localhost:3000", "localhost:3000", (), True),
    ("http://example.com", "example.com", (), True),
    ("http://example.com", "example.com:80", (), True),
    ("http://example.com:80", "example.com", (), True),
    ("https://example.com", "example.com", (), True),
    ("https://example.com", "example.com:443", (), True),
    ("https://EXAMPLE.com", "Example.COM", (), True),
    ("https://example.com:3000", "example.com:3000", (), True),
    ("http://[::1]:3000", "[::1]:3000", (), True),
    ("http://[::1]", "[::1]", (), True),
    ("http://example.com:3000", "example.com", (), False),
    ("http://example.com", "example.com:3000", (), False),
    ("https://example.com", "example.com:80", (), False),
    ("http://example.com", None, (), False),
    ("http://example.com", "", (), False),
    ("http://evil.com", "example.com", (), False),
    ("http://example.com.evil.com", "example.com", (), False),
    ("http://evil.com/example.com", "example.com", (), False),
    ("http://evil.com#example.com", "example.com", (), False),
    ("http://user@example.com", "example.com", (), False),
    ("http://example.com, http://evil.com", "example.com", (), False),
    ("http://example.com http://evil.com", "example.com", (), False),
    ("http://example.com\x00", "example.com", (), False),
    ("http://example.com/", "example.com", (), False),
    ("ftp://example.com", "example.com", (), False),
    ("file://", "", (), False),
    ("example.com", "example.com", (), False),
    ("null", "null", (), False),
    ("", "", (), False),
    ("https://app.test", "example.com", ("https://app.test",), True),
    ("https://app.test:443", "example.com", ("https://app.test",), True),
    ("https://app.test", "example.com", ("https://APP.test:443/",), True),
    ("http://app.test", "example.com", ("https://app.test",), False),
    ("https://app.test:444", "example.com", ("https://app.test",), False),
    ("https://sub.app.test", "example.com", ("https://app.test",), False),
    ("https://app.test", "example.com", ("https://other.test", "https://app.test"), True),
    ("https://anything.test", "example.com", ("*",), True),
    ("null", "example.com", ("*",), True),
    ("null", "example.com", ("null",), True),
    ("null", "example.com", ("https://app.test",), False),
    ("capacitor://localhost", "example.com", ("capacitor://localhost",), True),
    ("capacitor://localhost", "example.com", (), False),
]


@pytest.mark.parametrize(("origin", "host", "allowed", "verdict"), ORIGIN_TABLE)
def test_an_origin_is_judged_by_the_host_and_the_list(
    origin: str, host: str | None, allowed: tuple[str, ...], verdict: bool
):
    headers = {"origin": origin} if host is None else {"origin": origin, "host": host}
    request = Request(headers=headers)
    policy = OriginPolicy(allowed)
    assert policy.allows(request) is verdict
    cors = dict(policy.headers(request))
    assert cors["vary"] == "Origin"
    assert cors.get("access-control-allow-origin") == (origin if verdict else None)


@pytest.mark.parametrize(
    ("site", "allowed", "verdict"),
    [
        (None, (), True),
        ("same-origin", (), True),
        ("same-site", (), True),
        ("none", (), True),
        ("cross-site", (), False),
        ("Cross-Site", (), False),
        ("cross-site", ("https://app.test",), False),
        ("cross-site", ("*",), True),
    ],
)
def test_a_missing_origin_is_refused_only_from_another_site(site: str | None, allowed: tuple[str, ...], verdict: bool):
    request = Request(headers={"host": "example.com"} | ({} if site is None else {"sec-fetch-site": site}))
    policy = OriginPolicy(allowed)
    assert policy.allows(request) is verdict
    assert "access-control-allow-origin" not in dict(policy.headers(request))


def test_an_allowed_page_of_another_site_is_not_held_to_where_it_is():
    request = Request(headers={"origin": "https://app.test", "host": "example.com", "sec-fetch-site": "cross-site"})
    assert OriginPolicy(["https://app.test"]).allows(request)
