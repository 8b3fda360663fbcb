"""djactors: real-time in-app notifications for DJ System, one Trio process, one durable inbox.

`djactors.Client` is what a backend publishes with, and `djactors.client` has the clients for Trio programs.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from djactors.client import Client

__all__ = ["Client", "__version__"]

__version__ = "0.2.0.dev0"
"""The version of the program. The wheel, `djactors --version` and `GET /api/admin/actors` all take it from here."""

if not TYPE_CHECKING:
    # The server has no use for it, so it is imported when it is asked for.
    def __getattr__(name: str) -> Any:
        if name != "Client":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from djactors.client import Client

        return Client
