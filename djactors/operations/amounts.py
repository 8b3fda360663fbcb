"""Amounts in words, as commands print them for people."""

__all__ = ["amount"]


def amount(number: int, one: str, several: str | None = None) -> str:
    """A number of things: `1 change`, `2 changes`. `several` is for words that take more than an s."""
    return f"{number} {one if number == 1 else several or f'{one}s'}"
