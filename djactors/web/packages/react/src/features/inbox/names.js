/** What the types and priorities of notifications are called where they are chosen. An installation may have types of its own. */
export const TYPES = new Map(Object.entries({
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
  disk_filling: 'The disk is filling',
}))

/** A type by its own name if nobody has worded it: `deadline_moved` is “Deadline moved”. */
export const typeName = (type) => TYPES.get(type) ?? `${type.charAt(0).toUpperCase()}${type.slice(1).replaceAll('_', ' ')}`

export const PRIORITIES = { CRITICAL: 'Critical', HIGH: 'High', MEDIUM: 'Medium', LOW: 'Low' }

/** What to call the job of some notifications. */
export const jobName = (id, notifications) =>
  notifications.find(({ data }) => data?.jobId === id && data.djId)?.data.djId ?? `Job ${id}`
