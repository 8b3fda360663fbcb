"""What `djactors top` does: it shows a running installation on a terminal, trouble first.

looking.py   asks the server, and keeps what is needed to tell rates
trouble.py   what is wrong, and what to do
picture.py   what is shown, for a terminal of any size
live.py      the terminal: draws, listens for keys, and leaves all as it was
"""

from djactors.operations.top.live import is_live, show
from djactors.operations.top.looking import Looker, NoLookError, Source, address_of
from djactors.operations.top.picture import picture

__all__ = ["Looker", "NoLookError", "Source", "address_of", "is_live", "picture", "show"]
