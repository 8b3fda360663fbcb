"""All that the probe can find, in the order in which it looks: what is wrong, and what mends it.

The README's table is compared with this one by a test. The mends name nginx first, because most installations have it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from djactors.config import environment_name
from djactors.edge.refusals import ENGINE


class Finding(msgspec.Struct, frozen=True):
    """A misconfiguration.

    Attributes:
        check: the check that finds it.
        wrong: what is wrong.
        mend: what the operator changes.
    """

    check: str
    wrong: str
    mend: str


_TRUSTED: Final = environment_name("trusted_proxies")
_BUFFERING: Final = (
    "turn buffering off for /socket.io/ (nginx: `proxy_buffering off`), and see what else delays answers"
)

FINDINGS: Final[Mapping[str, Finding]] = {
    "certificate_expired": Finding(
        "certificate", "the certificate has ended or is not valid yet", "renew it, and see why that did not happen"
    ),
    "certificate_name": Finding(
        "certificate", "the certificate is for another name", "get one for the name that clients use, or change --url"
    ),
    "certificate_untrusted": Finding(
        "certificate",
        "nobody whom clients trust has signed the certificate",
        "have the proxy send the whole chain (nginx: `ssl_certificate` names the full chain); name a CA of your own "
        "with --ca",
    ),
    "certificate_ends_soon": Finding(
        "certificate", "the certificate ends soon", "renew it now, and see why that did not happen by itself"
    ),
    "redirects": Finding(
        "redirect", "the address leads elsewhere", "give clients and --url the address that it leads to"
    ),
    "redirect_loses_body": Finding(
        "redirect",
        "the redirect to HTTPS makes a GET of a POST, so that its body is lost",
        "redirect with 308 (nginx: `return 308 https://$host$request_uri`), or give clients the https address",
    ),
    "bad_gateway": Finding(
        "server",
        "the proxy does not reach the server",
        "see that `djactors serve` runs, and that the proxy has its address and port",
    ),
    "not_djactors": Finding(
        "server",
        "something else answers",
        "have the proxy pass all paths on unchanged, and compare --url with the proxy's rules",
    ),
    "clock_skew": Finding(
        "clock", "the clocks differ", "have a time server set the clocks of the proxy, the server and this machine"
    ),
    "proxy_not_trusted": Finding(
        "client address",
        "the server takes everybody for a client on its own machine: /metrics can be read from outside",
        f"name the proxy in {_TRUSTED}, and have it send X-Forwarded-For",
    ),
    "address_forged": Finding(
        "client address",
        "a client can claim any address",
        "have the proxy append to X-Forwarded-For (nginx: `$proxy_add_x_forwarded_for`), and name only proxies in "
        f"{_TRUSTED}",
    ),
    "authorization_lost": Finding(
        "token", "the proxy takes the token away", "have the proxy pass the header Authorization on"
    ),
    "token_refused": Finding(
        "token",
        "the server refuses the probe's token",
        "use the secret of the server; if the clock differs, mend that first; a line of the server's log names the "
        "claim",
    ),
    "polling_refused": Finding(
        "polling", "no session can be opened", "have the proxy pass /socket.io/ on with its query and with GET and POST"
    ),
    "polling_cached": Finding(
        "polling",
        "a cache answers in the server's place",
        "turn caching off for /socket.io/ (nginx: `proxy_cache off`)",
    ),
    "session_lost": Finding(
        "polling",
        "the requests of one session reach different servers",
        "have the proxy keep a client at one server (nginx: `ip_hash`)",
    ),
    "connect_refused": Finding("polling", "the session is open, and its CONNECT is refused", "as for token_refused"),
    "post_refused": Finding(
        "post", "an event cannot be posted", "have the proxy pass POST and its body on; the server's own words say more"
    ),
    "not_delivered": Finding("delivery", "the notification does not come", _BUFFERING),
    "delivered_late": Finding("delivery", "the notification comes late", _BUFFERING),
    "delivered_in_pieces": Finding("delivery", "the answer to a poll comes in pieces", _BUFFERING),
    "host_changed": Finding(
        "page",
        "the server's own page is refused, because the proxy changes Host; clients in Node do not notice",
        ENGINE["origin"],
    ),
    "host_without_port": Finding(
        "page",
        "the server's own page is refused, because the proxy passes Host on without its port",
        "pass Host on with its port (nginx: `proxy_set_header Host $http_host`, not `$host`)",
    ),
    "websocket_not_passed": Finding(
        "websocket",
        "WebSockets do not pass",
        "pass the upgrade on (nginx: `proxy_http_version 1.1`, `proxy_set_header Upgrade $http_upgrade` and "
        "`proxy_set_header Connection $connection_upgrade`; Apache: `upgrade=websocket`)",
    ),
    "upgrade_failed": Finding(
        "upgrade", "a polling session cannot upgrade to WebSocket", "as for websocket_not_passed and session_lost"
    ),
    "any_origin": Finding(
        "foreign page",
        "pages of strangers may connect",
        f"take `*` out of {environment_name('allowed_origins')}, and have the proxy pass Origin on; if it is "
        "meant, say --origin '*'",
    ),
    "origin_not_listed": Finding(
        "listed page",
        "a page that --origin names is refused",
        f"add the origin to {environment_name('allowed_origins')}, with its scheme, and have the proxy pass Origin on",
    ),
    "headers_not_allowed": Finding(
        "preflight",
        "browsers may not send headers of their own (`extraHeaders`)",
        "have the proxy pass OPTIONS on, and add no Access-Control headers of its own",
    ),
    "body_too_large": Finding(
        "batch", "the proxy refuses a batch that the server takes", "raise its bound (nginx: `client_max_body_size 2m`)"
    ),
    "old_protocol": Finding(
        "old client",
        "a client of Engine.IO 3 is not refused as the server does it",
        "see what stands between: another Socket.IO server, or a proxy with an error page of its own",
    ),
    "other_parser": Finding(
        "other parser",
        "a packet of socket.io-msgpack-parser is not refused",
        "see what stands between: another Socket.IO server",
    ),
    "delete_refused": Finding("delete", "what the probe made cannot be deleted", "have the proxy pass DELETE on"),
    "idle_cut": Finding(
        "idle",
        "a quiet connection is cut",
        f"raise the proxy's timeout (nginx: `proxy_read_timeout`, haproxy: `timeout tunnel`) above the sum of "
        f"{environment_name('ping_interval')} and {environment_name('ping_timeout')}, or lower the first",
    ),
}
"""By name. The names are labels of the metrics."""
