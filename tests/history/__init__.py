"""The history checker: what a run under faults recorded, judged against what the server's database holds afterwards.

    history = History()                      # filled while the run goes on
    findings = judge(history, Ledger.read(database))
    assert not findings, report(findings)

Rules that it judges by:
  * Every acknowledged event is stored exactly once, a retry got the same answer, and what was refused left nothing.
  * Every client applied each of its changes exactly once and in order: what it applied is a slice of the log, without a
    gap, from where it began to where the run ended.
  * Offsets only rise within a session, and skip nothing that a client resuming after them would miss. Each names a
    change of the log by its number and its mark, and each mark follows from the one before it.
  * Where an older copy of the database was put back, a client goes on only if the log has all that it knows; otherwise
    it is told to begin anew. What was acknowledged before was stored in the database that is lost.
  * Every unread count that was shown is the model's at that point of the log, and the last one is the newest.
  * Nothing crosses users or tenants, and what concerns a whole tenant reached everyone who was connected.

It knows the contract and the database's tables, and nothing of the server's code: a fault there cannot hide here.
"""

from tests.history.checker import Finding, judge, report
from tests.history.ledger import Ledger
from tests.history.records import History

__all__ = ["Finding", "History", "Ledger", "judge", "report"]
