"""The business rules: domain events, who is notified of what, and what a notification is. Pure: no clock, no store, no
I/O."""
