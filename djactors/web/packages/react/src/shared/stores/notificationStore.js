/**
 * The inbox of the signed-in person: its lists (`inboxPages`), the counts, and the toasts of what has just arrived.
 *
 * Rules:
 *  - The counts are what the server said last (`notification:unread-count`, a list's answer, an ack), changed by what the person
 *    has just done here and the server has not yet answered for (`ownChanges`). Nothing else is guessed.
 *  - What a person does shows at once and rolls back, with a `notice`, where the server refuses or cannot be reached. What can be
 *    undone has a notice with `undo`.
 *  - While a list is on the screen (`watchList`) and somebody looks at the page, what arrives is seen.
 *  - A notification that arrives live gets a toast; a replayed one does not; one that `replaces` another gets none either, but
 *    takes over the toast of the other if that is still to be seen. One that comes back from a snooze by itself gets one.
 *    Any other than a CRITICAL one that an open list shows has none.
 */
import { createStore } from 'zustand/vanilla'

import { serverNow } from '../services/clock.js'
import { parseOffset } from '../services/offsets.js'
import { applyEvent, EVERYTHING } from './inboxEvents.js'
import { createPages, pageOf, visible } from './inboxPages.js'
import { createOwnChanges, settled } from './ownChanges.js'
import { createReplica } from './replica.js'
import { createToasts, isCritical, MAX_TOASTS } from './toasts.js'

/** ms in which arrivals that a list lacks are gathered before it is loaded again. */
const GATHER = 250
/** ms: a snooze that ended so much before its moment was ended by hand. */
const BY_HAND = 5000

const EMPTY = {
  items: [],
  unreadCount: 0,
  unseenCount: 0,
  /** Whether the server has said a count yet. */
  counted: false,
  filter: EVERYTHING,
  pages: {},
  toasts: [],
  hiddenToasts: 0,
  /** `{ id, text, undo }`; `undo` is null where there is none. */
  notice: null,
  /** Whether a list is on the screen. */
  listShown: false,
  /** Whether the inbox is open, where its host does not keep that itself. */
  inboxOpen: false,
}

const FAILURES = {
  read: 'It could not be marked as read.',
  unread: 'It could not be marked as unread.',
  archive: 'It could not be archived.',
  unarchive: 'It could not be moved to the inbox.',
  snooze: 'It could not be snoozed.',
  unsnooze: 'It could not be brought back.',
  delete: 'It could not be deleted.',
}
/** These leave a toast nothing to say. */
const END_TOASTS = new Set(['read', 'archive', 'snooze', 'delete'])

/**
 * @param {object} options
 * @param {ReturnType<import('../services/api.js').createApi>} options.api
 * @param {{ emit: Function, state: object }} options.socket
 */
export function createNotificationStore({ api, socket }) {
  const replica = createReplica({ apply: applyEvent })
  const own = createOwnChanges()
  let count = 0
  let unseen = 0
  let sighted = 0 // the newest that arrived in an open list, until it is said that it was seen
  let countSeq = -1
  let notices = 0
  /** Lists on the screen. */
  let lists = 0
  let seeing = false
  let reloading = null
  const arrivals = new Set()

  const store = createStore(() => EMPTY)
  const { getState, setState } = store
  const toasts = createToasts(store)
  const pages = createPages({ store, replica, ask: api.notifications, onPage: takePage, onStale: loadSoon })

  /** Bring what is shown up to date with what is known. */
  function show(more = {}) {
    const items = [...replica.entries.values()]
      .map(({ value }) => own.over(value))
      .filter((value) => value !== null)
      .sort((a, b) => b.id - a.id)
    const unreadCount = own.count(count, replica.entries)
    setState({ items, unreadCount, unseenCount: seeing ? 0 : Math.min(unseen, unreadCount), ...more })
  }

  /** Counts of an event or a list have their offset beside them, those of an ack in them. */
  function takeCounts({ count: unread, unseen: unseenOnes, at: ofAck }, at = ofAck) {
    const point = parseOffset(at)
    // An unlogged packet carries the last offset of its connection: a count may be older than a list's.
    if (point !== null && point.seq < countSeq) return
    if (point !== null) countSeq = point.seq
    count = unread
    // A server of before it told them apart.
    unseen = unseenOnes ?? unread
    setState({ counted: true })
  }

  function takePage({ unreadCount, unseenCount, offset: at }) {
    takeCounts({ count: unreadCount, unseen: unseenCount }, at)
    show()
  }

  /** Something arrived that the list that is shown should have, and that is not known. */
  function loadSoon() {
    reloading ??= setTimeout(() => {
      reloading = null
      pages.open(getState().filter)
    }, GATHER)
  }

  function notify(text, undo = null) {
    notices += 1
    setState({ notice: { id: notices, text, undo } })
  }

  /** By the connection, or over HTTP while there is none. */
  const command = (name, payload, overHttp) =>
    socket.state.getState().status === 'connected' ? socket.emit(name, payload) : overHttp()

  function send(id, kind, data) {
    const word = `notification:${kind}`
    if (kind === 'delete') return command(word, { notificationId: id }, () => api.remove(id))
    return command(word, { notificationId: id, ...data }, () => api.change(id, kind, data))
  }

  /** What a command makes known, unless an event has said it, or something newer, already. */
  function settle(id, change, sentAt) {
    if (replica.entries.get(id)?.seq === sentAt) replica.amend(id, settled(change))
  }

  /** Change one notification. @returns {Promise<boolean>} whether it stands */
  async function change(id, kind, data = {}, { undo = null, said = null } = {}) {
    const entry = replica.entries.get(id)
    const before = own.last(id)
    if (before?.kind === kind && kind !== 'snooze') return true
    if (kind === 'read' && before === undefined && (entry === undefined || entry.value.isRead)) return true
    const made = { id, kind, data: kind === 'read' ? { readAt: new Date(serverNow()).toISOString() } : data }
    const takeAway = own.add(made)
    if (END_TOASTS.has(kind)) toasts.dismiss(id)
    show()
    if (said !== null) notify(said, undo)
    const notice = getState().notice
    // They are sent in the order in which they were made, over HTTP as well.
    made.done = (async () => {
      if (before !== undefined) await before.done
      const sentAt = replica.entries.get(id)?.seq
      try {
        takeCounts(await send(id, kind, data))
        settle(id, made, sentAt)
        return true
      } catch (error) {
        // It is gone already: another tab deleted it.
        if (error.code === 'not_found') settle(id, { kind: 'delete' }, sentAt)
        if (said !== null && getState().notice === notice) setState({ notice: null })
        if (error.code !== 'not_found') notify(`${FAILURES[kind]} ${error.message}`)
        return error.code === 'not_found'
      } finally {
        takeAway()
        show()
      }
    })()
    return made.done
  }

  /** Read all of the inbox, or all of a job. @returns {Promise<boolean>} whether it stands */
  async function readMany(job, name, payload, overHttp, failure) {
    if (own.isReading(job)) return true
    const upTo = Math.max(0, ...replica.entries.keys())
    const known = [...replica.entries].map(([id, { seq }]) => ({ id, seq }))
    const takeAway = own.addReading({ upTo, job })
    toasts.leave((each) => each.id > upTo || (job !== null && each.data?.jobId !== job))
    if (job === null) toasts.forgetHidden()
    show()
    try {
      const readAt = new Date(serverNow()).toISOString()
      takeCounts(await command(name, payload, overHttp))
      for (const { id, seq } of known) {
        const value = replica.entries.get(id)?.value
        if (value?.place === 'inbox' && !value.isRead && (job === null || value.data?.jobId === job)) {
          settle(id, { kind: 'read', data: { readAt } }, seq)
        }
      }
      return true
    } catch (error) {
      if (failure !== null) notify(`${failure} ${error.message}`)
      return false
    } finally {
      takeAway()
      show()
    }
  }

  /** What is in the open list was seen, and what was in it when it closed. It is no matter where that cannot be said now: the
   * next count comes with the chance. */
  async function look() {
    if ((lists === 0 && sighted === 0) || unseen === 0 || seeing || globalThis.document?.hidden) return
    const newest = lists > 0 ? Math.max(0, ...replica.entries.keys()) : sighted
    const payload = newest > 0 ? { upTo: newest } : {}
    sighted = 0
    seeing = true
    show()
    try {
      takeCounts(await command('notification:seen', payload, () => api.markSeen(payload)))
    } catch {
      // It stays unseen.
    }
    seeing = false
    show()
    if (sighted > 0) void look()
  }

  /** An open list shows a new notification. Its count comes behind it, and the list may have closed by then. */
  function sight({ id }) {
    if (lists > 0 && !globalThis.document?.hidden) sighted = Math.max(sighted, id)
  }

  /** Whether an open list shows it, so that a toast would say it twice. */
  const isInSight = (id) => lists > 0 && visible(getState()).some((each) => each.id === id)

  function announce(notification) {
    if (isCritical(notification) || !isInSight(notification.id)) toasts.add(notification)
    for (const hear of arrivals) hear(notification)
  }

  /** What came back from a snooze: the list that has it may never have been loaded. */
  async function announceReturned(ids) {
    for (const id of ids.slice(0, MAX_TOASTS)) {
      if (!replica.entries.has(id)) {
        const ticket = replica.begin()
        try {
          const page = await api.notifications({ ...EVERYTHING, unread: true, before: id + 1, limit: 1 })
          replica.settle(ticket, { ...page, items: page.items.map((item) => ({ ...item, place: 'inbox' })) })
        } catch {
          // It is in the inbox all the same.
          replica.abandon(ticket)
        }
        show()
      }
      const value = replica.entries.get(id)?.value
      if (value?.place === 'inbox' && !value.isRead) announce(value)
    }
  }

  function afterwards(name, data, live, returned) {
    if (name === 'notification:new') {
      const replaced = data.replaces ?? null
      if (replaced !== null) toasts.replace(replaced, data)
      else if (live && replica.entries.get(data.id)?.value.isRead === false) announce(data)
      const smallest = replica.prune()
      if (smallest !== null) pages.raise(smallest)
    } else if (name === 'notification:unsnoozed') {
      if (live && returned.length > 0) void announceReturned(returned)
    } else if (name !== 'notification:unarchived' && name !== 'notification:unread') {
      const gone = data.all ? getState().toasts.map(({ id }) => id) : data.notificationIds
      const speaks = (value) => value !== undefined && value.place === 'inbox' && !value.isRead
      for (const id of gone) if (!speaks(replica.entries.get(id)?.value)) toasts.dismiss(id)
    }
  }

  /** Those that came back by themselves: nobody had the snooze end before its moment. */
  function returning(name, data) {
    if (name !== 'notification:unsnoozed') return []
    return data.notificationIds.filter((id) => {
      if (own.last(id) !== undefined) return false
      const until = Date.parse(replica.entries.get(id)?.value.snoozedUntil ?? '')
      return !(until > serverNow() + BY_HAND)
    })
  }

  const valueOf = (id) => getState().items.find((item) => item.id === id)

  const actions = {
    /** Load a list from its beginning; without a filter, the one that is shown. Rejects with an `ApiError`. */
    load: pages.load,
    /** Load the next page of the list that is shown; its state is `more` of the page. */
    loadMore: pages.loadMore,
    /** Show another list: `filter` is what changes of the filter. It is loaded if need be. */
    setFilter(filter) {
      const next = { ...getState().filter, ...filter }
      setState({ filter: next })
      pages.open(next)
    },
    /** The following show at once, and resolve to whether they stand. */
    markRead: (id) => change(id, 'read'),
    markUnread: (id) => change(id, 'unread'),
    archive: (id) => change(id, 'archive', {}, { said: 'Archived.', undo: () => void change(id, 'unarchive') }),
    unarchive: (id) => change(id, 'unarchive', {}, { said: 'Moved to the inbox.', undo: () => void change(id, 'archive') }),
    /** `until` in RFC 3339, before the notification expires; `said` is what the notice says. */
    snooze(id, until, said = 'Snoozed.') {
      const before = valueOf(id)
      const undo = async () => {
        if (before?.place === 'archived') return change(id, 'archive')
        await change(id, 'unsnooze')
        // What comes back is unread.
        return before?.isRead && change(id, 'read')
      }
      const again = before?.place === 'snoozed' && before.snoozedUntil
      return change(id, 'snooze', { until }, { said, undo: again ? () => void change(id, 'snooze', { until: again }) : () => void undo() })
    },
    unsnooze: (id) => change(id, 'unsnooze'),
    remove: (id) => change(id, 'delete'),
    markAllRead: () =>
      readMany(null, 'notification:read-all', {}, api.markAllRead, 'They could not be marked as read.'),
    /** Read all of a job; silently where it is not the person who asks for it. */
    readJob: (jobId, { silent = false } = {}) =>
      readMany(jobId, 'job:read-notifications', { jobId }, () => api.readJob(jobId), silent ? null : 'They could not be marked as read.'),
    /** Somebody looks at the page again. */
    look: () => void look(),
    dismissToast: toasts.dismiss,
    /** A list is on the screen that shows what `visible` gives. @returns {() => void} it no longer is */
    watchList() {
      lists += 1
      toasts.leave((each) => isCritical(each) || !isInSight(each.id))
      setState({ listShown: true, hiddenToasts: 0 })
      void look()
      return () => {
        lists -= 1
        setState({ listShown: lists > 0 })
      }
    },
    notify,
    dismissNotice: () => setState({ notice: null }),
    /** Undo what the notice speaks of. @returns {boolean} whether there was something */
    undo() {
      const undo = getState().notice?.undo ?? null
      if (undo === null) return false
      setState({ notice: null })
      undo()
      return true
    },
    setInboxOpen: (inboxOpen) => setState({ inboxOpen }),
    /** Forget the toasts that did not fit. */
    forgetHidden: toasts.forgetHidden,
    /** What a command of another store was answered. */
    takeCounts(counts) {
      takeCounts(counts)
      show()
    },

    /** Take a server event in. */
    take(name, data, { offset: at, live }) {
      if (name === 'notification:unread-count') {
        takeCounts(data, at)
        show()
        void look()
        return
      }
      const returned = returning(name, data)
      const outcome = replica.take(name, data, at)
      if (outcome === 'foreign') actions.reload().catch(() => {})
      if (outcome !== 'applied') return
      // Of `notification:seen` the counts tell.
      if (name === 'notification:seen') return
      if (name === 'notification:new') sight(data)
      if (lists > 0) show()
      afterwards(name, data, live, returned)
      show()
      if (pages.hear(name, data, parseOffset(at).seq)) loadSoon()
    },
    /** History was lost: load anew what is shown, and the other lists when they are asked for. Rejects like `load`. */
    reload() {
      replica.forget()
      pages.forget()
      countSeq = -1
      return pages.load()
    },
    /** The connection is back: load what could not be loaded. */
    mend() {
      const { filter } = getState()
      if (pageOf(getState(), filter).status === 'error') pages.load(filter).catch(() => {})
      void look()
    },
    /** The offset of what was loaded, to connect from; undefined if nothing was. */
    offset: pages.offset,
    /** The offset of the latest answer. */
    listed: () => replica.listed,
    streamFrom: (at) => replica.streamFrom(at),
    /** Hear of each notification that arrives live and gets a toast. @returns {() => void} stops it */
    onArrival(hear) {
      arrivals.add(hear)
      return () => arrivals.delete(hear)
    },
  }
  return Object.assign(store, { actions })
}
