"""What is kept for the program itself and belongs to no customer."""

from __future__ import annotations

from djactors.domain.ids import MAX_ID

PROBE_TENANT = MAX_ID
"""The tenant of `djactors probe`. It is the largest id, because backends number their customers from below. Its user is
counted in no survey and has no daily limit: a monitor that probes every minute would reach the limit within two
hours."""

PROBE_USER = MAX_ID
"""The only user of this tenant."""
