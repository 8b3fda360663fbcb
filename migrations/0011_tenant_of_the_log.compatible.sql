-- Fewer checks for each event on PostgreSQL. One text for SQLite and PostgreSQL 15, as in 0001.

-- PostgreSQL checks a foreign key with a query of its own for each row. For the tenant of an event and of a change this took a fifth
-- of the time of a batch, and it cannot fail: whoever writes such a row has made or locked the tenant's row before, in the same
-- transaction. `djactors check` looks for rows that somebody else has left without a tenant.
ALTER TABLE domain_events DROP CONSTRAINT domain_events_tenant_id_fkey;  -- postgresql only
ALTER TABLE changes DROP CONSTRAINT changes_tenant_id_fkey;  -- postgresql only
