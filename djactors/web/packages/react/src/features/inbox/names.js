/** What the types and priorities of notifications are called where they are chosen. A backend may send types of its own. */
export const TYPES = {
  job_assigned: 'Assigned to me',
  approval_needed: 'My approval is needed',
  approval_approved: 'Approved',
  approval_rejected: 'Rejected',
  sla_alert_24h: 'Deadline is near',
  sla_alert_overdue: 'Overdue',
  comment_added: 'Comments',
  mentioned: 'I am mentioned',
  job_completed: 'Completed',
  daily_summary: 'Summary of the day',
}

export const PRIORITIES = { CRITICAL: 'Critical', HIGH: 'High', MEDIUM: 'Medium', LOW: 'Low' }

/** What to call the job of some notifications. */
export const jobName = (id, notifications) =>
  notifications.find(({ data }) => data?.jobId === id && data.djId)?.data.djId ?? `Job ${id}`
