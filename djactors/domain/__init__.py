"""What the business says: domain events, who hears of what, what a notification is. Pure."""
