/**
 * What the server's events say of notifications, and which of them a list asks for.
 *
 * Rules:
 *  - A notification is in one place: in the inbox itself, in the archive, or snoozed (`place`). The server's lists do not say
 *    the place, since a list is of one; what takes a list in has to add it.
 *  - An event changes an entry only if it is newer than what is known of the entry.
 *  - An event may bring a notification to a list that does not know it. What an event brings where is `arrivalsOf`.
 */

/** The views of the inbox, by the place that they show. */
export const PLACES = ['inbox', 'archived', 'snoozed']

/** What a list shows unless it is asked for something else. */
export const EVERYTHING = Object.freeze({ view: 'inbox', unread: false, type: null, priority: null, job: null, query: '' })

/** One text for each filter. */
export const filterKey = ({ view, unread, type, priority, job, query }) => JSON.stringify([view, unread, type, priority, job, query])

/** Whether a page of this list can have fewer items than it was asked for, and still go on. */
export const isNarrowed = ({ type, priority, job, query }) => type !== null || priority !== null || job !== null || query !== ''

const jobIdOf = ({ data }) => data?.jobId ?? null

/** Whether a notification belongs to a list, as far as the notification itself says so: only the server knows what a search finds. */
export const matches = ({ view, unread, type, priority, job }, value) =>
  value.place === view &&
  (!unread || !value.isRead) &&
  (type === null || value.type === type) &&
  (priority === null || value.priority === priority) &&
  (job === null || jobIdOf(value) === job)

const put = (value, place) => {
  const { snoozedUntil: _, ...rest } = value
  return { ...rest, place }
}
const unread = (value) => ({ ...value, isRead: false, readAt: null })

/** What each change makes of a notification. The person's own commands show as the same, before the server has answered. */
export const CHANGES = {
  read: (value, { readAt }) => (value.isRead ? value : { ...value, isRead: true, readAt }),
  unread,
  archive: (value) => put(value, 'archived'),
  unarchive: (value) => put(value, 'inbox'),
  snooze: (value, { until }) => ({ ...value, place: 'snoozed', snoozedUntil: until }),
  unsnooze: (value) => unread(put(value, 'inbox')),
}
const BY_EVENT = {
  'notification:read': CHANGES.read,
  'notification:unread': CHANGES.unread,
  'notification:archived': CHANGES.archive,
  'notification:unarchived': CHANGES.unarchive,
  'notification:snoozed': CHANGES.snooze,
  'notification:unsnoozed': CHANGES.unsnooze,
}

/** The events that `applyEvent` knows. */
export const INBOX_EVENTS = ['notification:new', 'notification:deleted', ...Object.keys(BY_EVENT)]

/** For `createReplica`. */
export function applyEvent(entries, { name, data, seq }, listSeq) {
  if (name === 'notification:new') {
    if (data.replaces !== undefined && data.replaces !== null) entries.delete(data.replaces)
    // An answer that is newer has it already, or knows that it is gone.
    if (seq > listSeq && !((entries.get(data.id)?.seq ?? -1) >= seq)) {
      entries.set(data.id, { value: { ...data, isRead: false, readAt: null, place: 'inbox' }, seq })
    }
  } else if (name === 'notification:deleted') {
    for (const id of data.notificationIds) entries.delete(id)
  } else {
    const change = BY_EVENT[name]
    if (change === undefined) return
    const ids = data.all ? [...entries.keys()].filter((id) => entries.get(id).value.place === 'inbox') : data.notificationIds
    for (const id of ids) {
      const entry = entries.get(id)
      if (entry !== undefined && entry.seq < seq) entries.set(id, { value: change(entry.value, data), seq })
    }
  }
}

const ARRIVE_AT = {
  'notification:unarchived': 'inbox',
  'notification:unsnoozed': 'inbox',
  'notification:archived': 'archived',
  'notification:snoozed': 'snoozed',
}

/** @returns {{ ids: number[], place: string | null } | null} which lists an event may add to; `place` null for all of them */
export function arrivalsOf(name, data) {
  if (name === 'notification:new') return { ids: [data.id], place: 'inbox' }
  if (name === 'notification:unread') return { ids: data.notificationIds, place: null }
  return name in ARRIVE_AT ? { ids: data.notificationIds, place: ARRIVE_AT[name] } : null
}
