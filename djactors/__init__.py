"""djactors: real-time in-app notifications for DJ System, one Trio process, one durable inbox.

`djactors.Client` is what a backend publishes with, `djactors.client` has the clients for Trio programs, and
`djactors.portal` runs a server in a thread of a program that uses asyncio, Flask or Django.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from djactors.client import Client
    from djactors.embedded import portal

__all__ = ["Client", "__version__", "portal"]

__version__ = "0.2.0.dev0"
"""The version of the program. The wheel, `djactors --version` and `GET /api/admin/actors` all take it from here."""

if not TYPE_CHECKING:
    # Each is imported when it is asked for: who wants the one has no use for the other.
    def __getattr__(name: str) -> Any:
        if name == "Client":
            from djactors.client import Client

            return Client
        if name == "portal":
            from djactors.embedded import portal

            return portal
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
