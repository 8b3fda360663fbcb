"""What to make of an exception that ended a child."""


def unwrapped(group: BaseExceptionGroup[Exception]) -> Exception:
    """The crash itself where nurseries have wrapped it in groups of one, else the group."""
    error: Exception | BaseExceptionGroup[Exception] = group
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    assert isinstance(error, Exception)
    return error


def described(error: Exception) -> str:
    """Type and text, without the traceback, which would keep the crashed instance alive."""
    return f"{type(error).__name__}: {error}"
