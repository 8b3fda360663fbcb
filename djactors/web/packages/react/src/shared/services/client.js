/**
 * One signed-in person's djactors: HTTP, the connection, and the stores that both keep right.
 *
 * The host gives the server's address and the token; nothing else of the page is needed. `DjactorsProvider` makes one
 * for React; without React it is used as it is:
 *
 *     const client = createDjactors({ url, token })
 *     client.start()
 *     client.notifications.subscribe(({ unreadCount }) => …)
 */
import { createJobStore } from '../stores/jobStore.js'
import { INBOX_EVENTS } from '../stores/inboxEvents.js'
import { createMuteStore, MUTE_EVENTS } from '../stores/muteStore.js'
import { createNotificationStore } from '../stores/notificationStore.js'
import { createPeopleStore } from '../stores/peopleStore.js'
import { createThreadStore } from '../stores/threadStore.js'
import { createApi } from './api.js'
import { readClaims } from './claims.js'
import { serverNow } from './clock.js'
import { earliest, laterThan } from './offsets.js'
import { createSocketService } from './socketService.js'

const NOTIFICATION_EVENTS = [...INBOX_EVENTS, 'notification:seen', 'notification:unread-count']
const JOB_EVENTS = ['job:updated', 'job:assigned', 'approval:status-changed']

/** ms that the first connect waits for the list that it would resume from. */
const LIST_FIRST = 2000
/** ms between attempts to load what could not be loaded. */
const RETRY_LOAD = 3000

/**
 * @param {object} options
 * @param {string} [options.url] the server's origin; by default the page's own
 * @param {string} options.token a JWT
 * @param {() => Promise<string>} [options.refreshToken] fetches a fresh token of the same user before the old one ends
 * @param {(token: string) => void} [options.onToken] told of each fresh token, to keep it
 * @param {{ id: number, name: string }[]} [options.people] names for ids; see `personName`
 * @param {Function} [options.io] for tests, like `fetch`
 * @param {typeof fetch} [options.fetch]
 */
export function createDjactors({ url = '', token, refreshToken, onToken, people: told = [], io, fetch }) {
  let current = token
  let started = false
  let retry = null
  const me = readClaims(token)
  const getToken = () => current
  const keep = (fresh) => {
    current = fresh
    onToken?.(fresh)
  }

  const api = createApi({
    url,
    getToken,
    fetch,
    onUnauthorized: () => {
      // HTTP says no more than 401; the clock says which of the two it is.
      const code = (readClaims(current)?.expiresAt ?? 0) <= serverNow() ? 'token_expired' : 'token_invalid'
      // The connection says the same, and can mend it; only where it has not been made yet there is nobody else to say it.
      const mendable = code === 'token_expired' && refreshToken !== undefined
      if (socket.state.getState().status === 'idle' && !mendable) {
        socket.state.setState({ status: 'unauthorized', refusal: code })
      }
    },
  })
  const socket = createSocketService({
    url,
    getToken,
    refreshToken,
    onToken: keep,
    // Where the oldest of the lists stands; what the others know of already, they drop.
    getSince: () => earliest(stores.map((store) => store.actions.offset())),
    ...(io === undefined ? {} : { io }),
    ...(fetch === undefined ? {} : { fetch }),
  })
  const notifications = createNotificationStore({ api, socket })
  const jobs = createJobStore({ api, me: () => me?.userId })
  const mutes = createMuteStore({ api, socket, inbox: notifications.actions })
  const people = createPeopleStore({ api, socket })
  const threads = createThreadStore({ api, learn: people.actions.learn })
  const stores = [notifications, jobs, mutes]

  for (const name of NOTIFICATION_EVENTS) socket.on(name, (data, meta) => notifications.actions.take(name, data, meta))
  for (const name of MUTE_EVENTS) socket.on(name, (data, meta) => mutes.actions.take(name, data, meta))
  for (const name of JOB_EVENTS) socket.on(name, (data, meta) => jobs.actions.take(name, data, meta))
  socket.on('comment:added', (data) => threads.actions.take(data))
  socket.on('people:presence', (data) => people.actions.take(data))
  socket.on('changes:reset', reloadAll)
  socket.state.subscribe(({ status }, before) => {
    if (before.status === 'connected' && status !== 'connected') people.actions.disconnected()
  })
  socket.onConnect(({ recovered, since }) => {
    people.actions.connected()
    threads.actions.connected()
    if (!recovered && since === undefined) {
      reloadAll()
      return
    }
    for (const store of stores) {
      if (!recovered) store.actions.streamFrom(since)
      store.actions.mend()
    }
    void verifyLists(since)
  })

  /**
   * Load everything anew if a list is of a past that the database has lost. The server judges the point that a connection
   * goes on from; a list may be later than that one, where only others' changes came in between.
   */
  async function verifyLists(since) {
    try {
      for (const offset of laterThan(since, stores.map((store) => store.actions.listed()))) {
        if ((await api.changes(offset, 1)).reset) return reloadAll()
      }
    } catch {
      // The next connect asks again.
    }
  }

  /** Load everything anew, and go on trying while that fails. */
  async function reloadAll() {
    clearTimeout(retry)
    try {
      await Promise.all([...stores, threads].map((store) => store.actions.reload()))
    } catch (error) {
      if (started && error.status !== 401) retry = setTimeout(reloadAll, RETRY_LOAD)
    }
  }

  const online = () => socket.retry()
  // Back from the browser's back/forward cache: the page goes on as it was, its requests do not.
  const pageShown = ({ persisted }) => {
    if (persisted) socket.restart()
  }

  return {
    /** Claims of the token: `{ userId, tenantId, role, name, expiresAt }`; null if it is none of a person. */
    me,
    api,
    socket,
    notifications,
    jobs,
    mutes,
    people,
    threads,

    /** Load the inbox and connect. */
    start() {
      if (started) return
      started = true
      globalThis.addEventListener?.('online', online)
      globalThis.addEventListener?.('pageshow', pageShown)
      const loaded = notifications.actions.load().catch(() => {})
      let timer
      const late = new Promise((resolve) => {
        timer = setTimeout(resolve, LIST_FIRST)
      })
      Promise.race([loaded, late]).then(() => {
        clearTimeout(timer)
        // A refused token is refused everywhere.
        if (started && socket.state.getState().status !== 'unauthorized') socket.connect()
      })
    },

    /** Disconnect. It can be started again. */
    stop() {
      started = false
      clearTimeout(retry)
      globalThis.removeEventListener?.('online', online)
      globalThis.removeEventListener?.('pageshow', pageShown)
      people.actions.stop()
      socket.disconnect()
    },

    /** Go on with another token of the same user, without a reconnect. Rejects with an `ApiError` if it is refused. */
    async setToken(fresh) {
      const before = current
      current = fresh
      try {
        await socket.setToken(fresh)
      } catch (error) {
        current = before
        throw error
      }
      onToken?.(fresh)
    },

    /** What to call somebody: the name that the host or the server has told, else `User 4`. */
    personName(id) {
      if (id === null || id === undefined) return null
      if (id === me?.userId && me.name) return me.name
      return (
        told.find((person) => person.id === id)?.name ??
        people.getState().names.get(id) ??
        [...jobs.getState().jobs.values()].map((job) => nameIn(job, id)).find(Boolean) ??
        `User ${id}`
      )
    },
  }
}

/** What a job calls somebody who has a part in it. */
function nameIn(job, id) {
  const part = ['assignee', 'requester', 'approver', 'manager'].find((each) => job[`${each}Id`] === id)
  return job[`${part}Name`] ?? job.watchers?.find((watcher) => watcher.id === id)?.name
}
