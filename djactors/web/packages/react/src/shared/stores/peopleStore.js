/**
 * The people of the tenant as far as they are looked at: what they are called, and who is connected now.
 *
 * Rules:
 *  - Presence is followed while somebody looks (`look`): the socket watches, then the list is loaded, then events change it. It is
 *    no change of the log, so all of this is done again after each connect, and without a connection nothing is known.
 *  - The server lists people by name and not by id. The first page of everybody is loaded; who is not on it and is shown
 *    (`want`) is looked up by name, one after the other.
 *  - An event that came while an answer was under way is newer than the answer.
 *  - A server that tells no presence (`DJACTORS_PRESENCE=false`) leaves everything unknown: no dot is shown.
 */
import { createStore } from 'zustand/vanilla'

/** People of the first page: the most that the server gives. */
const FIRST_PAGE = 100
/** People remembered; a page shows far fewer at once. */
const MAX_KNOWN = 2000
/** Lookups by name that may wait: more than a screen shows. */
const MAX_LOOKUPS = 60
/** Of one lookup: so many may have one name. */
const NAMESAKES = 20
/** ms after which nobody looks any more: to go from one view to the next is no reason to stop watching. */
const LINGER = 5000

/** Set a key as the newest one, and forget the oldest beyond the bound. */
function remember(map, key, value) {
  map.delete(key)
  map.set(key, value)
  if (map.size > MAX_KNOWN) map.delete(map.keys().next().value)
}

/**
 * @param {object} options
 * @param {ReturnType<import('../services/api.js').createApi>} options.api
 * @param {ReturnType<import('../services/socketService.js').createSocketService>} options.socket
 */
export function createPeopleStore({ api, socket }) {
  const store = createStore(() => ({
    /** id → name. */
    names: new Map(),
    /** id → whether they are connected; nothing of whom it is not known. */
    connected: new Map(),
  }))
  const { getState, setState } = store
  const wanted = new Map() // id → { name, count }
  const asked = new Set() // ids looked up since the last watch
  const answers = new Set() // of answers under way: the ids heard of meanwhile
  let looking = 0
  let leaving = null
  let round = 0 // of watching; 0 is none
  let rounds = 0
  let whole = false // the first page was everybody
  let lookups = []
  let busy = false

  function learn(people) {
    const { names } = getState()
    const news = people.filter(({ id, name }) => id && name && names.get(id) !== name)
    if (news.length === 0) return
    const next = new Map(names)
    for (const { id, name } of news) remember(next, id, name)
    setState({ names: next })
  }

  function setConnected(pairs) {
    const { connected } = getState()
    const news = pairs.filter(([id, is]) => connected.get(id) !== is)
    if (news.length === 0) return
    const next = new Map(connected)
    for (const [id, is] of news) remember(next, id, is)
    setState({ connected: next })
  }

  /** A page of people by name; what it tells is learnt. Rejects with an `ApiError`. */
  async function list(options) {
    const heard = new Set()
    const mine = round
    answers.add(heard)
    try {
      const page = await api.people(options)
      learn(page.items)
      if (round !== 0 && mine === round) {
        setConnected(page.items.filter(({ id, connected }) => connected !== undefined && !heard.has(id)).map(({ id, connected }) => [id, connected]))
      }
      return page
    } finally {
      answers.delete(heard)
    }
  }

  function forget() {
    round = 0
    whole = false
    lookups = []
    asked.clear()
    if (getState().connected.size > 0) setState({ connected: new Map() })
  }

  async function watch() {
    forget()
    const mine = ++rounds
    try {
      await socket.emit('people:watch')
    } catch {
      // Without a connection the next connect watches; where presence is off or too many watch, nothing is shown.
      return
    }
    if (mine !== rounds || looking === 0) return
    round = mine
    try {
      const { nextBefore } = await list({ limit: FIRST_PAGE })
      if (mine === round) whole = nextBefore === null
    } catch {
      // Those who are shown are looked up one by one.
    }
    if (mine === round) for (const [id, { name }] of wanted) enqueue(id, name)
  }

  function enqueue(id, name) {
    if (round === 0 || whole || asked.has(id) || getState().connected.has(id) || lookups.length >= MAX_LOOKUPS) return
    asked.add(id)
    lookups.push(name)
    void lookUp()
  }

  async function lookUp() {
    if (busy) return
    busy = true
    while (lookups.length > 0) {
      try {
        await list({ query: lookups.shift(), limit: NAMESAKES })
      } catch {
        // It stays unknown whether this one is connected.
      }
    }
    busy = false
  }

  function leave() {
    rounds += 1
    const watched = round !== 0
    forget()
    if (watched) socket.emit('people:unwatch').catch(() => {})
  }

  const actions = {
    /** Search by the beginning of a name or of a word of it: `{ items, nextBefore }`. Rejects with an `ApiError`. */
    search: (query, { limit, before } = {}) => list({ query, limit, before }),
    /** Follow who is connected. @returns {() => void} no longer */
    look() {
      looking += 1
      clearTimeout(leaving)
      if (looking === 1 && round === 0) void watch()
      return () => {
        looking -= 1
        if (looking === 0) leaving = setTimeout(leave, LINGER)
      }
    },
    /** Somebody is shown. @returns {() => void} no longer */
    want(id, name) {
      const entry = wanted.get(id) ?? { name, count: 0 }
      entry.count += 1
      wanted.set(id, entry)
      enqueue(id, name)
      return () => {
        entry.count -= 1
        if (entry.count === 0) wanted.delete(id)
      }
    },
    /** People with their names: `{ id, name }[]`. */
    learn,
    /** The server told of somebody. */
    take({ userId, connected }) {
      for (const heard of answers) heard.add(userId)
      if (round !== 0) setConnected([[userId, connected]])
    },
    /** There is a connection again. */
    connected() {
      if (looking > 0) void watch()
    },
    /** There is no connection any more. */
    disconnected() {
      rounds += 1
      forget()
    },
    stop() {
      clearTimeout(leaving)
      actions.disconnected()
    },
  }
  return Object.assign(store, { actions })
}
