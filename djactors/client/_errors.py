"""What goes wrong, as the caller of these clients sees it."""


class DjactorsError(Exception):
    """The base of all errors of this package, so that one `except` catches them."""


class ApiError(DjactorsError):
    """The server refused.

    Attributes:
        code: one of the error codes, such as `not_found`; the README lists them. Where something that is no djactors
            answered, such as a proxy, the code is `http_` and the status.
        message: names the field and the mend.
        status: of HTTP; None where a socket's command was refused.
        retry_after: seconds after which another try makes sense, where the server said so.
    """

    def __init__(self, code: str, message: str, *, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.status, self.retry_after = code, message, status, retry_after


class UnreachableError(DjactorsError):
    """No answer came in time, over all attempts. The server may have done what was asked, or not.

    The same event with the same `id` may be sent again: the server records it once.
    """
