"""What the business says, tested by tables: events, rules, moves, times."""
