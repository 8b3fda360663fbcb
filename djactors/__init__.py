"""djactors: real-time in-app notifications for DJ System, one Trio process, one durable inbox."""

__version__ = "0.2.0.dev0"
"""The version of the program. The wheel, `djactors --version` and `GET /api/admin/actors` all take it from here."""
