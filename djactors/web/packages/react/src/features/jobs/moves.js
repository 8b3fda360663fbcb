/**
 * Which moves to offer for a job: the server's table of states, parts and roles, once more.
 *
 * Rules: this only decides what is shown. The server decides what is allowed, and says so when it differs.
 */
const UNFINISHED = ['open', 'assigned', 'pending_approval', 'approved', 'rejected']
const FROM = {
  assign: ['open', 'assigned', 'rejected'],
  submit: ['assigned', 'rejected'],
  approve: ['pending_approval'],
  reject: ['pending_approval'],
  complete: ['open', 'assigned', 'approved', 'rejected'],
  deadline: UNFINISHED,
  cancel: UNFINISHED,
}
const WHO = {
  assign: [['requester', 'manager'], ['manager', 'admin']],
  submit: [['assignee', 'manager'], ['manager', 'admin']],
  approve: [['approver'], ['admin']],
  reject: [['approver'], ['admin']],
  complete: [['assignee', 'requester', 'manager'], ['manager', 'admin']],
  deadline: [['requester', 'manager'], ['manager', 'admin']],
  cancel: [['requester', 'manager'], ['manager', 'admin']],
  title: [['requester', 'manager'], ['manager', 'admin']],
  watchers: [[], ['manager', 'admin']],
}

/** Whether somebody names others as watchers. */
export const namesWatchers = (me) => WHO.watchers[1].includes(me?.role)

/** @returns {Set<string>} of assign, submit, approve, reject, complete, deadline, cancel, title, watchers */
export function movesFor(job, me) {
  const offered = new Set()
  if (!me) return offered
  for (const [move, [parts, roles]] of Object.entries(WHO)) {
    const may = roles.includes(me.role) || parts.some((part) => job[`${part}Id`] === me.userId)
    if (may && (FROM[move]?.includes(job.status) ?? true)) offered.add(move)
  }
  return offered
}

/** What people call a job. */
export const labelOf = (job) => job.djId ?? `Job ${job.id}`
