"""How the URL of a database may be shown. This needs no driver."""

__all__ = ["SCHEMES", "without_password"]

SCHEMES = ("postgresql://", "postgres://")

_SECRETS = frozenset({"password", "sslpassword"})


def without_password(url: str) -> str:
    """A URL as it may be shown, even one that is written wrongly."""
    before, at, after = url.rpartition("@")
    # Rather too much is left out than a piece of a password shown, where one holds characters that it must not.
    scheme, separator, user = before.partition("://")
    head, mark, query = f"{scheme}{separator}{user.partition(':')[0]}{at}{after}".partition("?")
    kept = [part for part in query.split("&") if part.partition("=")[0].strip().lower() not in _SECRETS]
    return head + (mark + "&".join(kept) if any(kept) else "")
