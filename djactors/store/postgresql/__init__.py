"""PostgreSQL, from version 15 on, as a database of the store that several nodes share."""
