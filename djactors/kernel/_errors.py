"""Every error the kernel raises, in the order a message meets them: mailbox, actor, supervisor.

All descend from `KernelError`, so a caller can fence off the kernel with one name.
"""

# The names say what happened, as in the actor literature, and do not end in `Error`.
# ruff: noqa: N818


class KernelError(Exception):
    """The root of all errors of the kernel."""


class MailboxFull(KernelError):
    """There is no room for the item, and the sender does not wait (`put_nowait`, `tell_nowait` and the like)."""


class MailboxClosed(KernelError):
    """The mailbox is closed and takes nothing more. The reader gets this error only once the mailbox is also empty."""


class ActorStopped(KernelError):
    """The actor takes no messages, or stopped before it had answered this one."""


class ActorQuarantined(ActorStopped):
    """The actor kept crashing and is set aside for a while; afterwards the same ref works again."""


class ActorCrashed(KernelError):
    """The actor crashed on this very message, which is dropped. `__cause__` is what it raised."""


class AskTimeout(KernelError):
    """No answer came before the deadline. The message may still be handled; its answer is dropped."""


class AskUnanswered(KernelError):
    """`on_batch` returned without having answered this ask."""


class SupervisorNotRunning(KernelError):
    """The supervisor has not been started yet, or is stopping, or has stopped."""


class ChildExists(KernelError):
    """The supervisor has a child of that name already."""


class NoSuchChild(KernelError, LookupError):
    """The supervisor has no child, or no actor, of that name."""


class TooManyChildren(KernelError):
    """The supervisor already has `max_children` dynamic children."""


class ChildStartFailed(KernelError):
    """A child's first start failed. `__cause__` is the reason."""


class RestartIntensityExceeded(KernelError):
    """A child needed more restarts in a period than its spec allows. `__cause__` is its last crash."""
