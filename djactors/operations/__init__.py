"""What an operator does besides serving: check an installation, sign tokens, look into an inbox, run the demo."""
