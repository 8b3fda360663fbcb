"""Every error the kernel raises, in the order a message meets them: mailbox, actor, supervisor.

All descend from `KernelError`, so a caller can fence off the kernel with one name.
"""

# Named after what happened, as the actor literature does, not after the fact that they are errors.
# ruff: noqa: N818


class KernelError(Exception):
    """The root of all errors of the kernel."""


class MailboxFull(KernelError):
    """There is no room for the item, and the sender said that it does not wait."""


class MailboxClosed(KernelError):
    """The mailbox takes nothing more; for its reader: and there is nothing left in it."""


class ActorStopped(KernelError):
    """The actor takes no message now, or stopped before it had answered this one."""


class ActorQuarantined(ActorStopped):
    """The actor kept crashing and is set aside for a while; afterwards the same ref works again."""


class ActorCrashed(KernelError):
    """The actor crashed on this very message, which is dropped. `__cause__` is what it raised."""


class AskTimeout(KernelError):
    """No answer came before the deadline. The message may still be handled; its answer is dropped."""


class AskUnanswered(KernelError):
    """`on_batch` returned and had left this ask without an answer."""


class SupervisorNotRunning(KernelError):
    """The supervisor has not been started yet, or is stopping, or has stopped."""


class ChildExists(KernelError):
    """The supervisor has a child of that name already."""


class NoSuchChild(KernelError, LookupError):
    """The supervisor has no child, or no actor, of that name."""


class TooManyChildren(KernelError):
    """The supervisor has as many dynamic children as it may have."""


class ChildStartFailed(KernelError):
    """A child that had to start did not. `__cause__` is why."""


class RestartIntensityExceeded(KernelError):
    """A child needed more restarts in a period than its spec allows. `__cause__` is its last crash."""
