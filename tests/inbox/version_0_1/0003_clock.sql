-- What the clock needs: when a job's next SLA alert is due, how much each user was told today, what retention walks along.

-- next_alert_at: the moment at which the clock looks at the job next; NULL for never. alerted_24h and alerted_overdue: the deadlines
-- for which each alert was sent, newest last, separated by spaces, at most eight (domain/sla.py says why).
ALTER TABLE jobs ADD COLUMN next_alert_at VARCHAR(27);
ALTER TABLE jobs ADD COLUMN alerted_24h VARCHAR(255);
ALTER TABLE jobs ADD COLUMN alerted_overdue VARCHAR(255);
CREATE INDEX idx_jobs_next_alert ON jobs (next_alert_at, tenant_id, id) WHERE next_alert_at IS NOT NULL;
-- Jobs from before: the clock looks at each once, at its first start, and finds their moments out.
UPDATE jobs SET next_alert_at = created_at WHERE deadline IS NOT NULL AND status <> 'completed';

-- One row for each user and each day, in the tenant's time zone, on which somebody had something to tell the user. sent counts what
-- went into the inbox, held what the daily limit kept out of it; deleting a notification lowers neither. summary_id: the newest
-- summary of what was held back; summary_at: when it was sent; summary_due: when the next one is.
CREATE TABLE user_days (
    tenant_id BIGINT NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    day VARCHAR(10) NOT NULL,
    sent BIGINT NOT NULL DEFAULT 0,
    held BIGINT NOT NULL DEFAULT 0,
    summary_id BIGINT,
    summary_at VARCHAR(27),
    summary_due VARCHAR(27),
    PRIMARY KEY (tenant_id, user_id, day)
);
CREATE INDEX idx_user_days_summary_due ON user_days (summary_due, tenant_id, user_id, day) WHERE summary_due IS NOT NULL;
CREATE INDEX idx_user_days_day ON user_days (day);

-- Which job a notification is of: bursts of the same type and job can be collapsed.
ALTER TABLE notifications ADD COLUMN job_id BIGINT;

-- Retention finds what left the inbox long ago. Changes, domain events and suppressions need no index for that: their keys rise with
-- time. idx_notifications_expires, of the first migration, finds what is to leave.
CREATE INDEX idx_notifications_removed ON notifications (removed_at) WHERE removed_at IS NOT NULL;
