"""The one error of the protocol layer."""


class ProtocolError(Exception):
    """The peer broke the protocol. Decoders and state machines raise nothing else, whatever bytes a peer sends.

    `code` is one of a few fixed words and may be a metric label. The message says what was wrong and never quotes the
    peer, so it may be logged. A mistake of the caller raises `ValueError` or `TypeError` instead.
    """

    __slots__ = ("code",)

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
