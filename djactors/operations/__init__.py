"""What an operator does beside serving: diagnose, sign tokens, try it out."""
