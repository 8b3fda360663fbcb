/**
 * What the person has done here and the server has not answered for yet, laid over what is known.
 *
 * Rules:
 *  - Changes of one notification are laid over in the order in which they were made, and sent in this order, too.
 *  - A change that the server takes becomes known, unless an event has brought something newer of the notification meanwhile.
 *    A change that the server refuses is forgotten, and so rolled back.
 *  - The unread count is what the server said, more or less what these changes make of it. Nothing else is guessed.
 */
import { CHANGES } from './inboxEvents.js'

/** What a notification adds to the unread count. */
const weightOf = (value) => (value !== null && value.place === 'inbox' && !value.isRead ? 1 : 0)

export function createOwnChanges() {
  const changes = [] // { id, kind, data, done }
  const readings = [] // { upTo, job }: everything, or everything of a job, up to an id

  const isReadByMany = (value) =>
    value.place === 'inbox' && readings.some(({ upTo, job }) => value.id <= upTo && (job === null || value.data?.jobId === job))

  function over(value) {
    let shown = !value.isRead && isReadByMany(value) ? { ...value, isRead: true } : value
    for (const { id, kind, data } of changes) {
      if (id !== value.id || shown === null) continue
      shown = kind === 'delete' ? null : CHANGES[kind](shown, data)
    }
    return shown
  }

  const take = (list, item) => {
    list.push(item)
    return () => void list.splice(list.indexOf(item), 1)
  }

  return {
    /** What a notification shows as; null where it is deleted. */
    over,

    /** The unread count to show, given the one that the server said. */
    count(said, entries) {
      const values = [...entries.values()].map(({ value }) => value)
      const shown = values.reduce((sum, value) => sum + weightOf(over(value)), 0)
      if (readings.some(({ job }) => job === null)) return shown
      return Math.max(0, said + shown - values.reduce((sum, value) => sum + weightOf(value), 0))
    },

    /** The latest change of a notification that waits for its answer. */
    last: (id) => changes.findLast((change) => change.id === id),

    /** Lay a change over. @returns {() => void} takes it away */
    add: (change) => take(changes, change),

    /** Lay over that many are read. @returns {() => void} takes it away */
    addReading: (reading) => take(readings, reading),

    /** Whether the inbox is being read as a whole, or the job is. */
    isReading: (job) => readings.some((reading) => reading.job === job),
  }
}

/** What a taken change makes of an entry; null takes the entry away. */
export const settled = ({ kind, data }) => (value) => (kind === 'delete' ? null : CHANGES[kind](value, data))
