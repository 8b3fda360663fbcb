"""Physical faults against a served process, a test or more for each row of README's table of faults. See README.md here."""
