"""Which pages may talk to the server."""

import re

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
    # F4: the schemes of applications, which have no port of their own and are never the server's.
    ("capacitor://localhost", "localhost", (), False),
    ("CAPACITOR://localhost", "example.com", ("capacitor://LOCALHOST/",), True),
    ("capacitor://localhost:8100", "example.com", ("capacitor://localhost",), False),
    ("ionic://localhost", "example.com", ("capacitor://localhost", "ionic://localhost"), True),
    ("app://.", "example.com", ("app://.",), True),
    ("app://", "example.com", ("app://",), True),
    ("app://elsewhere", "example.com", ("app://",), False),
    ("file://", "example.com", ("file://",), True),
    ("chrome-extension://abcdefghijklmnop", "example.com", ("chrome-extension://abcdefghijklmnop",), True),
    ("http://localhost", "example.com", ("capacitor://localhost",), False),
    ("http://", "example.com", ("app://",), False),
    # F4: a wildcard is one label, of the same scheme and port.
    ("https://a.example.com", "server.test", ("https://*.example.com",), True),
    ("https://A.Example.COM:443", "server.test", ("https://*.example.com/",), True),
    ("https://a.example.com:8443", "server.test", ("https://*.example.com:8443",), True),
    ("http://a.localhost:5173", "server.test", ("http://*.localhost:5173",), True),
    ("https://example.com", "server.test", ("https://*.example.com",), False),
    ("https://a.b.example.com", "server.test", ("https://*.example.com",), False),
    ("https://.example.com", "server.test", ("https://*.example.com",), False),
    ("https://*.example.com", "server.test", ("https://*.example.com",), False),
    ("https://aexample.com", "server.test", ("https://*.example.com",), False),
    ("https://a.example.com.evil.test", "server.test", ("https://*.example.com",), False),
    ("https://evil.test/.example.com", "server.test", ("https://*.example.com",), False),
    ("https://evil.test#.example.com", "server.test", ("https://*.example.com",), False),
    ("https://evil.test\\.example.com", "server.test", ("https://*.example.com",), False),
    ("http://a.example.com", "server.test", ("https://*.example.com",), False),
    ("https://a.example.com:444", "server.test", ("https://*.example.com",), False),
    ("null", "server.test", ("https://*.example.com",), False),
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
def test_row_19_a_missing_origin_is_refused_only_from_another_site(
    site: str | None, allowed: tuple[str, ...], verdict: bool
):
    request = Request(headers={"host": "example.com"} | ({} if site is None else {"sec-fetch-site": site}))
    policy = OriginPolicy(allowed)
    assert policy.allows(request) is verdict
    assert "access-control-allow-origin" not in dict(policy.headers(request))


def test_an_allowed_page_of_another_site_is_not_held_to_where_it_is():
    request = Request(headers={"origin": "https://app.test", "host": "example.com", "sec-fetch-site": "cross-site"})
    assert OriginPolicy(["https://app.test"]).allows(request)


WRONG_PATTERNS = [
    # What is listed, what the message says of it.
    ("", "with its scheme"),
    ("app.example.com", "https://app.example.com"),
    ("https://", "like https://app.example.com"),
    ("https:///", "like https://app.example.com"),
    ("https://app.example.com/path", "leave out what follows the host"),
    ("https://app.example.com?x", "leave out what follows the host"),
    ("https://me@app.example.com", "leave out the user"),
    ("https://app.example.com:", "like https://app.example.com"),
    ("https://app.example.com:70000", "like https://app.example.com"),
    ("https://app..example.com", "like https://app.example.com"),
    ("https://app example.com", "like https://app.example.com"),
    ("https://b\u00fccher.example", "in ASCII"),
    ("wss://app.example.com", "https://app.example.com"),
    ("1app://localhost", "like https://app.example.com"),
    ("https://*", "one whole label at the beginning"),
    ("https://a.*.example.com", "one whole label at the beginning"),
    ("https://*.*.example.com", "one whole label at the beginning"),
    ("https://a*.example.com", "one whole label at the beginning"),
    ("https://**.example.com", "one whole label at the beginning"),
    ("*.example.com", "with its scheme"),
    ("*://app.example.com", "like https://app.example.com"),
    ("https://*.com", "two labels behind the asterisk"),
    ("https://*.0.0.1", "two labels behind the asterisk"),
    ("https://*.[::1]", "two labels behind the asterisk"),
    ("https://*.", "like https://app.example.com"),
]


@pytest.mark.parametrize(("pattern", "mend"), WRONG_PATTERNS)
def test_f4_what_is_no_origin_cannot_be_listed_and_the_mend_is_said(pattern: str, mend: str):
    with pytest.raises(ValueError, match=re.escape(mend)):
        OriginPolicy(["https://good.example", pattern])


def preflight(asked: str | None, origin: str = "https://app.test") -> dict[str, str]:
    fields = {"origin": origin, "host": "example.com", "access-control-request-method": "POST"}
    if asked is not None:
        fields["access-control-request-headers"] = asked
    answer = OriginPolicy(["https://app.test"]).preflight(
        Request("OPTIONS", headers=fields), "GET, POST", "content-type"
    )
    found = dict(answer)
    assert len(found) == len(answer)
    assert found["vary"] == "Origin, Access-Control-Request-Headers"
    return found


@pytest.mark.parametrize(
    "asked", ["x-tenant", "authorization,x-tenant", "x-a , x-b", "traceparent", ",".join(f"x-{n}" for n in range(32))]
)
def test_f3_an_allowed_page_may_send_the_headers_that_it_asks_for(asked: str):
    allowed = preflight(asked)
    assert allowed["access-control-allow-headers"] == asked
    assert allowed["access-control-allow-methods"] == "GET, POST"
    assert allowed["access-control-allow-origin"] == "https://app.test"
    assert int(allowed["access-control-max-age"]) > 0


@pytest.mark.parametrize(
    "asked",
    [
        "",
        ",",
        "x-a,,x-b",
        "x a",
        "x-a;",
        "x-a: 1",
        "x-a\r\nset-cookie: a=b",
        "x-\u00e9",
        "*, x y",
        ",".join(f"x-{n}" for n in range(33)),
        "x" * 1025,
    ],
)
def test_f3_what_is_no_short_list_of_names_is_not_repeated(asked: str):
    assert preflight(asked)["access-control-allow-headers"] == "content-type"


def test_f3_a_preflight_of_a_page_that_is_not_allowed_is_told_nothing():
    assert set(preflight("x-a", origin="https://other.test")) == {"vary"}
    assert preflight(None)["access-control-allow-headers"] == "content-type"
