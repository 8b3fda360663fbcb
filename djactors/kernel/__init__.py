"""The actor kernel: mailboxes, actors, refs and supervisors on Trio. It knows no notification."""
