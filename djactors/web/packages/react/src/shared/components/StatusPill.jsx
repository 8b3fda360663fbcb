/** Where a job is on its way, as a word in its colour. */
export const STATUS = {
  open: ['Open', 'bg-sunken text-ink-2 ring-1 ring-line'],
  assigned: ['Assigned', 'bg-info-soft text-info'],
  pending_approval: ['Waiting for approval', 'bg-warn-soft text-warn'],
  approved: ['Approved', 'bg-ok-soft text-ok'],
  rejected: ['Rejected', 'bg-danger-soft text-danger'],
  completed: ['Completed', 'bg-accent-soft text-accent-text'],
  cancelled: ['Cancelled', 'bg-line text-ink line-through decoration-1'],
}

/** Whether a job is over: nothing is due any more. */
export const isFinished = ({ status }) => status === 'completed' || status === 'cancelled'

export function StatusPill({ status }) {
  const [text, tone] = STATUS[status] ?? [status, STATUS.open[1]]
  return (
    <span data-testid="job-status" data-status={status}
      className={`inline-flex items-center rounded-full px-2.5 py-1 text-xs leading-none font-semibold whitespace-nowrap ${tone}`}>
      {text}
    </span>
  )
}
