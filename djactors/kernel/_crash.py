"""How the exception that ended a child is reported."""


def unwrapped(group: BaseExceptionGroup[Exception]) -> Exception:
    """The crash itself if nurseries have wrapped it in groups of one; otherwise the group."""
    error: Exception | BaseExceptionGroup[Exception] = group
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    assert isinstance(error, Exception)
    return error


def described(error: Exception) -> str:
    """The error's type and text. The traceback is left out, because it would keep the crashed instance alive."""
    return f"{type(error).__name__}: {error}"
