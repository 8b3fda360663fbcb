"""A comment on a job as clients see it, in a list and as the payload of `comment:added`."""

from __future__ import annotations

import msgspec

from djactors.domain.names import Named
from djactors.domain.times import UtcText


class CommentView(msgspec.Struct, frozen=True, rename="camel"):
    """See the module. The author is None if nobody is known to have written it. `text` is plain text, and
    `mentions` has the names of when this was made: for a list, of now."""

    id: int
    job_id: int
    author_id: int | None
    author_name: str | None
    text: str
    mentions: tuple[Named, ...]
    created_at: UtcText
