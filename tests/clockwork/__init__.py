"""What happens by itself: alerts, limits, retention, and how fast anybody may go."""
