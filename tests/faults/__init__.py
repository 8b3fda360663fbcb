"""Physical faults against a served process: a test or more for each row of the table of faults. See README.md here."""
