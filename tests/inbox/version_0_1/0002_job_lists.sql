-- The queue of one person in one state, newest first, is read from one index. idx_jobs_assignee of the first migration serves the
-- queue in all states, the primary key the tenant's whole list.
CREATE INDEX idx_jobs_assignee_status ON jobs (tenant_id, assignee_id, status, id);
CREATE INDEX idx_jobs_status ON jobs (tenant_id, status, id);
