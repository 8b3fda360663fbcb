"""The project as a whole: its wheel, its README, its layers."""
