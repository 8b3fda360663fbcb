/** What a refusal of the server says, in words for the person who reads it. */

const FIELDS = {
  assigneeId: 'Assignee',
  approverId: 'Approver',
  managerId: 'Manager',
  requesterId: 'Requester',
  watcherIds: 'Watchers',
  userId: 'Person',
  mentions: 'Mentions',
  title: 'Title',
  text: 'Comment',
  reason: 'Reason',
  deadline: 'Deadline',
}

/**
 * @param {{ message: string }} error
 * @param {(id: number) => string} personName
 */
export function wordsOf({ message }, personName) {
  const words = String(message)
    .replace(/^(\w+): /, (whole, field) => (FIELDS[field] ? `${FIELDS[field]}: ` : whole))
    .replace(/\buser (\d+)\b/g, (_, id) => personName(Number(id)))
    .trim()
  const sentence = words.charAt(0).toUpperCase() + words.slice(1)
  return /[.!?]$/.test(sentence) ? sentence : `${sentence}.`
}
