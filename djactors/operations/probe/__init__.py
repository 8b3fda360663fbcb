"""What `djactors probe` does: it goes through the real door as a client does, and names what is wrong and the mend."""

from djactors.operations.probe.catalogue import FINDINGS, Finding
from djactors.operations.probe.door import NotTriedError
from djactors.operations.probe.report import Report, Result
from djactors.operations.probe.run import Plan, probe, token_for

__all__ = ["FINDINGS", "Finding", "NotTriedError", "Plan", "Report", "Result", "probe", "token_for"]
