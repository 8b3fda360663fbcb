"""The one error of the protocol layer."""


class ProtocolError(Exception):
    """The peer broke the protocol: whatever bytes it sent, no decoder or state machine raises anything else.

    `code` is short, fixed and safe as a metric label; the message says what was wrong and never quotes what the
    peer sent, so it is safe to log. What a caller got wrong itself is a `ValueError` or `TypeError` instead.
    """

    __slots__ = ("code",)

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
