-- The end of an import that is abandoned. One text for SQLite and PostgreSQL 15, as in 0001.

-- What has arrived of such a tenant is removed in slices before its row, which says `importing` until then. So nothing has to be looked
-- for when the row goes: events have no index by tenant, and PostgreSQL looked through those of all tenants.
DROP TRIGGER tenant_removed ON tenants;  -- postgresql only
CREATE TRIGGER tenant_removed AFTER DELETE ON tenants FOR EACH ROW WHEN (NOT OLD.importing) EXECUTE FUNCTION tenant_removed();  -- postgresql only
