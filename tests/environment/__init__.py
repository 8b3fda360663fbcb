"""What the tests need from the machine (programs, a PostgreSQL server, the stock clients) and how it gets there."""
