"""What the tests need from the machine: a real PostgreSQL server, Node and the stock clients; and how it gets there."""
