/**
 * The inbox of the signed-in person: a paged list, the unread count, and the toasts of what has just arrived.
 *
 * Rules:
 *  - The count is what the server said last (`notification:unread-count`, a list's answer, an ack), less the unread ones
 *    that the person has just read or deleted here and the server has not yet answered for. Nothing else is guessed.
 *  - Reading and deleting show at once and roll back, with a `notice`, where the server refuses or cannot be reached.
 *  - A notification that arrives live gets a toast; a replayed one does not; one that `replaces` another gets none
 *    either, but takes over the toast of the other if that is still to be seen.
 *  - Toasts are bounded. CRITICAL ones stay, and go last. Any other that an open list shows (`watchList`) has none.
 *
 * The pages: `all` and `unread` are two ways down the same list, each with its own `nextBefore`.
 */
import { createStore } from 'zustand/vanilla'

import { serverNow } from '../services/clock.js'
import { parseOffset } from '../services/offsets.js'
import { createReplica } from './replica.js'

const PAGE_SIZE = 20
/** Toasts on the screen; what is beyond is counted, and is in the inbox. */
export const MAX_TOASTS = 4
/** Times that an answer is asked for again because too much happened beside it. */
const MAX_TRIES = 3

const isCritical = (notification) => notification.priority === 'CRITICAL'

function applyEvent(entries, { name, data, seq }, listSeq) {
  switch (name) {
    case 'notification:new': {
      if (data.replaces !== undefined && data.replaces !== null) entries.delete(data.replaces)
      // An answer that is newer has it already, or knows that it is gone.
      if (seq > listSeq && !((entries.get(data.id)?.seq ?? -1) >= seq)) {
        entries.set(data.id, { value: { ...data, isRead: false, readAt: null }, seq })
      }
      break
    }
    case 'notification:read': {
      const ids = data.all ? [...entries.keys()] : data.notificationIds
      for (const id of ids) {
        const entry = entries.get(id)
        if (entry === undefined || entry.seq >= seq) continue
        const value = entry.value.isRead ? entry.value : { ...entry.value, isRead: true, readAt: data.readAt }
        entries.set(id, { value, seq })
      }
      break
    }
    case 'notification:deleted':
      for (const id of data.notificationIds) entries.delete(id)
      break
  }
}

const EMPTY_PAGES = { status: 'idle', nextBefore: null, floor: Infinity, more: 'idle' }
const EMPTY = {
  items: [],
  unreadCount: 0,
  /** Whether the server has said a count yet. */
  counted: false,
  filter: 'all',
  pages: { all: EMPTY_PAGES, unread: EMPTY_PAGES },
  toasts: [],
  hiddenToasts: 0,
  notice: null,
  /** Whether the inbox is open, where its host does not keep that itself. */
  inboxOpen: false,
}

/**
 * @param {object} options
 * @param {ReturnType<import('../services/api.js').createApi>} options.api
 * @param {{ emit: Function, state: object }} options.socket
 */
export function createNotificationStore({ api, socket }) {
  const replica = createReplica({ apply: applyEvent })
  /** What the person did and the server has not answered for: id → 'read' | 'delete'. */
  const pending = new Map()
  /** A read-all under way: every notification up to this id shows as read. */
  let readUpTo = null
  let count = 0
  let countSeq = -1
  let offset
  let notices = 0
  /** Lists on the screen. */
  let lists = 0
  const arrivals = new Set()

  const store = createStore(() => EMPTY)
  const { getState, setState } = store

  function shownAsRead(value) {
    return value.isRead || pending.get(value.id) === 'read' || (readUpTo !== null && value.id <= readUpTo)
  }

  function shownCount() {
    const unread = [...replica.entries.values()].filter(({ value }) => !value.isRead)
    if (readUpTo !== null) return unread.filter(({ value }) => value.id > readUpTo && !pending.has(value.id)).length
    return Math.max(0, count - unread.filter(({ value }) => pending.has(value.id)).length)
  }

  /** Bring what is shown up to date with what is known. */
  function show(more = {}) {
    const items = [...replica.entries.values()]
      .map(({ value }) => value)
      .filter((value) => pending.get(value.id) !== 'delete')
      .sort((a, b) => b.id - a.id)
      .map((value) => (!value.isRead && shownAsRead(value) ? { ...value, isRead: true } : value))
    setState({ items, unreadCount: shownCount(), ...more })
  }

  function takeCount(next, at) {
    const point = parseOffset(at)
    // An unlogged packet carries the last offset of its connection: a count may be older than a list's.
    if (point !== null && point.seq < countSeq) return
    if (point !== null) countSeq = point.seq
    count = next
    setState({ counted: true })
  }

  const setPages = (filter, change) =>
    setState(({ pages }) => ({ pages: { ...pages, [filter]: { ...pages[filter], ...change } } }))

  function notify(text) {
    notices += 1
    setState({ notice: { id: notices, text } })
  }

  async function load(filter = getState().filter) {
    setPages(filter, { status: getState().pages[filter].status === 'ready' ? 'ready' : 'loading' })
    for (let tries = 1; tries <= MAX_TRIES; tries += 1) {
      const ticket = replica.begin()
      let page
      try {
        page = await api.notifications({ limit: PAGE_SIZE, unread: filter === 'unread' })
      } catch (error) {
        replica.abandon(ticket)
        setPages(filter, { status: getState().pages[filter].status === 'ready' ? 'ready' : 'error' })
        throw error
      }
      const floor = page.nextBefore ?? 0
      const covers = (value) => value.id >= floor && (filter === 'all' || !value.isRead)
      if (replica.settle(ticket, page, { whole: true, covers, baseline: filter === 'all' })) {
        offset = page.offset
        takeCount(page.unreadCount, page.offset)
        setPages(filter, { status: 'ready', nextBefore: page.nextBefore, floor, more: 'idle' })
        show()
        return
      }
    }
    setPages(filter, { status: 'error' })
  }

  async function loadMore() {
    const { filter, pages } = getState()
    const { status, nextBefore, more } = pages[filter]
    if (status !== 'ready' || nextBefore === null || more === 'loading') return
    setPages(filter, { more: 'loading' })
    const ticket = replica.begin()
    let page
    try {
      page = await api.notifications({ limit: PAGE_SIZE, before: nextBefore, unread: filter === 'unread' })
    } catch {
      replica.abandon(ticket)
      setPages(filter, { more: 'error' })
      return
    }
    if (!replica.settle(ticket, page)) {
      setPages(filter, { more: 'idle' })
      return
    }
    takeCount(page.unreadCount, page.offset)
    setPages(filter, { nextBefore: page.nextBefore, floor: page.nextBefore ?? 0, more: 'idle' })
    show()
  }

  /** By the connection, or over HTTP while there is none. */
  const command = (name, payload, overHttp) =>
    socket.state.getState().status === 'connected' ? socket.emit(name, payload) : overHttp()

  async function change(id, kind, name, overHttp, failure) {
    const entry = replica.entries.get(id)
    if (pending.has(id) || (kind === 'read' && (entry === undefined || entry.value.isRead))) return true
    pending.set(id, kind)
    dismissToast(id)
    show()
    try {
      const answer = await command(name, { notificationId: id }, () => overHttp(id))
      takeCount(answer.count)
      settleLocally(id, kind)
      return true
    } catch (error) {
      // It is gone already: another tab deleted it.
      if (error.code === 'not_found') settleLocally(id, 'delete')
      else notify(`${failure} ${error.message}`)
      return error.code === 'not_found'
    } finally {
      pending.delete(id)
      show()
    }
  }

  function settleLocally(id, kind) {
    const readAt = new Date(serverNow()).toISOString()
    replica.amend(id, (value) => (kind === 'delete' ? null : { ...value, isRead: true, readAt: value.readAt ?? readAt }))
  }

  async function markAllRead() {
    if (readUpTo !== null) return true
    const ids = [...replica.entries.keys()]
    readUpTo = Math.max(0, ...ids)
    const upTo = readUpTo
    setState({ toasts: getState().toasts.filter(({ id }) => id > upTo), hiddenToasts: 0 })
    show()
    try {
      const answer = await command('notification:read-all', {}, api.markAllRead)
      takeCount(answer.count)
      for (const id of ids) if (!replica.entries.get(id)?.value.isRead) settleLocally(id, 'read')
      return true
    } catch (error) {
      notify(`They could not be marked as read. ${error.message}`)
      return false
    } finally {
      readUpTo = null
      show()
    }
  }

  /** Whether an open list shows it, so that a toast would say it twice. */
  const isInSight = (id) => lists > 0 && visible(getState()).some((each) => each.id === id)

  function toast(notification) {
    if (!isCritical(notification) && isInSight(notification.id)) return
    let { toasts, hiddenToasts } = getState()
    toasts = [...toasts, notification]
    while (toasts.length > MAX_TOASTS) {
      const leaving = toasts.find((each) => !isCritical(each)) ?? toasts[0]
      toasts = toasts.filter((each) => each !== leaving)
      hiddenToasts += 1
    }
    setState({ toasts, hiddenToasts })
  }

  function dismissToast(id) {
    const toasts = getState().toasts.filter((each) => each.id !== id)
    setState({ toasts, hiddenToasts: toasts.length === 0 ? 0 : getState().hiddenToasts })
  }

  function afterwards(name, data, live) {
    if (name === 'notification:new') {
      const { toasts } = getState()
      const replaced = data.replaces ?? null
      if (replaced !== null) {
        if (toasts.some(({ id }) => id === replaced)) {
          setState({ toasts: toasts.map((each) => (each.id === replaced ? data : each)) })
        }
      } else if (live && replica.entries.get(data.id)?.value.isRead === false) {
        toast(data)
        for (const hear of arrivals) hear(data)
      }
      const smallest = replica.prune()
      if (smallest !== null) {
        for (const filter of ['all', 'unread']) {
          if (getState().pages[filter].floor < smallest) setPages(filter, { floor: smallest, nextBefore: smallest })
        }
      }
    } else if (name === 'notification:read') {
      const gone = new Set(data.all ? getState().toasts.map(({ id }) => id) : data.notificationIds)
      for (const id of gone) if (replica.entries.get(id)?.value.isRead ?? true) dismissToast(id)
    } else if (name === 'notification:deleted') {
      for (const id of data.notificationIds) dismissToast(id)
    }
  }

  const actions = {
    /** Load the first page of a filter. Rejects with an `ApiError`. */
    load,
    /** Load the next page of the filter that is shown; its state is `pages[filter].more`. */
    loadMore,
    /** Show `all` or `unread`, and load it if need be. */
    setFilter(filter) {
      setState({ filter })
      if (getState().pages[filter].status !== 'ready') load(filter).catch(() => {})
    },
    /** Mark one as read. Resolves to whether it stands. */
    markRead: (id) => change(id, 'read', 'notification:read', api.markRead, 'It could not be marked as read.'),
    /** Delete one. Resolves to whether it stands. */
    remove: (id) => change(id, 'delete', 'notification:delete', api.remove, 'It could not be deleted.'),
    /** Mark all as read. Resolves to whether it stands. */
    markAllRead,
    dismissToast,
    /** A list is on the screen that shows what `visible` gives. @returns {() => void} it no longer is */
    watchList() {
      lists += 1
      setState(({ toasts }) => ({ toasts: toasts.filter((each) => isCritical(each) || !isInSight(each.id)), hiddenToasts: 0 }))
      return () => {
        lists -= 1
      }
    },
    dismissNotice: () => setState({ notice: null }),
    setInboxOpen: (inboxOpen) => setState({ inboxOpen }),
    /** Forget the toasts that did not fit. */
    forgetHidden: () => setState({ hiddenToasts: 0 }),

    /** Take a server event in. */
    take(name, data, { offset: at, live }) {
      if (name === 'notification:unread-count') {
        takeCount(data.count, at)
        show()
        return
      }
      const outcome = replica.take(name, data, at)
      if (outcome === 'foreign') actions.reload().catch(() => {})
      if (outcome !== 'applied') return
      if (lists > 0) show()
      afterwards(name, data, live)
      show()
    },
    /** History was lost: load anew what is shown, and the other filter when it is asked for. Rejects like `load`. */
    reload() {
      replica.forget()
      countSeq = -1
      offset = undefined
      const { filter } = getState()
      setPages(filter === 'all' ? 'unread' : 'all', EMPTY_PAGES)
      return load(filter)
    },
    /** The connection is back: load what could not be loaded. */
    mend() {
      const { filter, pages } = getState()
      if (pages[filter].status === 'error') load(filter).catch(() => {})
    },
    /** The offset of what was loaded, to connect from; undefined if nothing was. */
    offset: () => offset,
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

/** What the list shows of a filter. */
export function visible({ items, filter, pages }) {
  const { floor } = pages[filter]
  return items.filter((item) => item.id >= floor && (filter === 'all' || !item.isRead))
}
