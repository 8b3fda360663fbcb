"""Commands as a script starts them in the background."""


def in_background(*command: str) -> tuple[str, ...]:
    """The command with SIGINT ignored, which is how a shell without job control starts `command &` (POSIX, 2.11)."""
    return ("sh", "-c", 'trap "" INT; exec "$@"', "sh", *command)
