"""The business rules: domain events, who is notified of what, and what a notification is. The rules are pure: they use
no clock, no store and no I/O."""
