/** How each type of notification looks: icon and tone. An installation may have types of its own: those get the bell. */
const KINDS = new Map(Object.entries({
  job_assigned: ['user', 'info'],
  approval_needed: ['alert', 'danger'],
  approval_approved: ['done', 'ok'],
  approval_rejected: ['cross', 'danger'],
  sla_alert_24h: ['clock', 'warn'],
  sla_alert_overdue: ['clock', 'danger'],
  comment_added: ['comment', 'accent'],
  mentioned: ['at', 'accent'],
  job_completed: ['checks', 'ok'],
  daily_summary: ['inbox', 'accent'],
  disk_filling: ['alert', 'warn'],
}))
const TONES = {
  info: 'bg-info-soft text-info',
  danger: 'bg-danger-soft text-danger',
  ok: 'bg-ok-soft text-ok',
  warn: 'bg-warn-soft text-warn',
  accent: 'bg-accent-soft text-accent-text',
}

export function kindOf({ type, priority }) {
  const [icon, tone] = KINDS.get(type) ?? ['bell', priority === 'CRITICAL' ? 'danger' : 'accent']
  return { icon, tone: TONES[tone] }
}

/** The job that a notification leads to, if there is one. */
export function jobOf({ data }) {
  const id = data?.jobId
  return Number.isSafeInteger(id) && id > 0 ? id : null
}
