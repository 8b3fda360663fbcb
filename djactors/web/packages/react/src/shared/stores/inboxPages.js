/**
 * The lists of the inbox: one for each filter that was looked at, each with its own way down, all in one replica.
 *
 * Rules:
 *  - A page of a list that is narrowed may be empty and still go on. Such pages are followed, at most `MAX_FOLLOWED` of them;
 *    then the person is asked whether to go on.
 *  - What a search finds, only the server knows: such a list keeps the ids that it was answered.
 *  - An event may bring something to a list that the replica does not have. The list is stale then: it is loaded again, without
 *    a word, when it is shown. One that has become stale while it was loaded says so when it is ready.
 *  - An answer for a list that is no longer shown is kept for that list, and never shows in another one.
 */
import { earliest, parseOffset } from '../services/offsets.js'
import { arrivalsOf, EVERYTHING, filterKey, isNarrowed, matches } from './inboxEvents.js'

const PAGE_SIZE = 20
/** The server answers no more at once. */
const MAX_PAGE_SIZE = 100
/** Times that an answer is asked for again because too much happened beside it. */
const MAX_TRIES = 3
/** Pages that are followed by themselves, because there was too little in them; the server looks at 500 for each. */
const MAX_FOLLOWED = 4
/** Items that fill the list on a small screen. */
const ENOUGH = 8
/** Lists that are kept while others are shown. */
const MAX_LISTS = 12
/** Arrivals that are remembered; a list that is older than all of them is stale. */
const MAX_ARRIVALS = 200

const NOT_YET = { status: 'idle', nextBefore: null, floor: Infinity, more: 'idle', offset: undefined, found: null }

/** The state of a list. */
export const pageOf = ({ pages }, filter) => pages[filterKey(filter)] ?? NOT_YET

/** What a list shows, newest first. */
export function visible(state, filter = state.filter) {
  const { floor, found } = pageOf(state, filter)
  return state.items.filter((item) => item.id >= floor && matches(filter, item) && (found === null || found.has(item.id)))
}

/**
 * @param {object} options
 * @param {object} options.store its state has `filter`, `pages` and `items`
 * @param {ReturnType<import('./replica.js').createReplica>} options.replica
 * @param {(query: object) => Promise<object>} options.ask for a page
 * @param {(page: object) => void} options.onPage told of each answer that was taken in, to show it
 * @param {() => void} options.onStale told of a list that was loaded and has to be loaded again
 */
export function createPages({ store, replica, ask, onPage, onStale }) {
  const { getState, setState } = store
  const arrivals = [] // { seq, ids, place }
  let forgottenSeq = -1 // of the latest arrival that is no longer remembered
  const loads = new Map() // key → the load that counts: a later one makes an earlier one's answer of no use

  function set(filter, change) {
    const key = filterKey(filter)
    const { [key]: page = { ...NOT_YET, filter }, ...others } = getState().pages
    const shown = filterKey(getState().filter)
    // The ones that were used last are at the end.
    const kept = Object.entries(others).filter(([each], place, all) => each === shown || place >= all.length + 1 - MAX_LISTS)
    setState({ pages: { ...Object.fromEntries(kept), [key]: { ...page, ...change } } })
  }

  /** Whether a list that was loaded lacks what has arrived since. */
  function isStale(filter) {
    const { status, offset, floor, found } = pageOf(getState(), filter)
    if (status !== 'ready') return false
    const seq = parseOffset(offset)?.seq ?? -1
    const isMissing = (id) => id >= floor && (found === null ? !replica.entries.has(id) : !found.has(id))
    return (
      seq < forgottenSeq ||
      arrivals.some((arrival) => arrival.seq > seq && (arrival.place ?? filter.view) === filter.view && arrival.ids.some(isMissing))
    )
  }

  const take = (filter, ticket, page, options) =>
    replica.settle(ticket, { ...page, items: page.items.map((item) => ({ ...item, place: filter.view })) }, options)

  /** Take the next page in. Throws what the server refuses. @returns {Promise<boolean>} whether it was taken in */
  async function next(filter) {
    const { nextBefore, found } = pageOf(getState(), filter)
    const ticket = replica.begin()
    let page
    try {
      page = await ask({ ...filter, limit: PAGE_SIZE, before: nextBefore })
    } catch (error) {
      replica.abandon(ticket)
      throw error
    }
    // The list was started over meanwhile.
    const gone = pageOf(getState(), filter).nextBefore !== nextBefore
    if (gone) replica.abandon(ticket)
    if (gone || !take(filter, ticket, page)) return false
    set(filter, {
      nextBefore: page.nextBefore,
      floor: page.nextBefore ?? 0,
      found: found && new Set([...found, ...page.items.map(({ id }) => id)]),
    })
    onPage(page)
    return true
  }

  /** Follow pages that have too little in them. */
  async function follow(filter, had) {
    if (!isNarrowed(filter)) return
    for (let followed = 0; followed < MAX_FOLLOWED; followed += 1) {
      if (pageOf(getState(), filter).nextBefore === null || visible(getState(), filter).length - had >= ENOUGH) return
      if (filterKey(getState().filter) !== filterKey(filter) || !(await next(filter))) return
    }
  }

  async function start(filter, load) {
    const key = filterKey(filter)
    for (let tries = 1; tries <= MAX_TRIES; tries += 1) {
      const ticket = replica.begin()
      // As much as is shown now, so that the list does not shrink.
      const limit = Math.min(MAX_PAGE_SIZE, Math.max(PAGE_SIZE, visible(getState(), filter).length))
      let page
      try {
        page = await ask({ ...filter, limit })
      } catch (error) {
        replica.abandon(ticket)
        throw error
      }
      if (loads.get(key) !== load) return replica.abandon(ticket)
      const floor = page.nextBefore ?? 0
      const searched = filter.query !== ''
      const covers = (value) => !searched && value.id >= floor && matches(filter, value)
      const baseline = key === filterKey(EVERYTHING)
      if (!take(filter, ticket, page, { whole: true, covers, baseline })) continue
      set(filter, {
        status: 'ready',
        nextBefore: page.nextBefore,
        floor,
        more: 'idle',
        offset: page.offset,
        found: searched ? new Set(page.items.map(({ id }) => id)) : null,
      })
      onPage(page)
      return undefined
    }
    return set(filter, { status: 'error' })
  }

  const pages = {
    /** Load a list from its beginning. Rejects with an `ApiError`. */
    async load(filter = getState().filter) {
      const key = filterKey(filter)
      const load = Symbol(key)
      loads.set(key, load)
      const settled = pageOf(getState(), filter).status === 'ready'
      if (!settled) set(filter, { status: 'loading' })
      try {
        await start(filter, load)
      } catch (error) {
        if (loads.get(key) === load && !settled) set(filter, { status: 'error' })
        throw error
      } finally {
        if (loads.get(key) === load) loads.delete(key)
      }
      if (pageOf(getState(), filter).nextBefore !== null && isNarrowed(filter)) await pages.goOn(filter, () => follow(filter, 0))
      if (isStale(filter)) onStale()
    },

    /** Load the next page of the list that is shown. */
    async loadMore() {
      const { filter } = getState()
      const had = visible(getState(), filter).length
      await pages.goOn(filter, async () => {
        if (await next(filter)) await follow(filter, had)
      })
    },

    /** Go down a list by what `act` does, one such at a time; `more` of the list says how it is. */
    async goOn(filter, act) {
      const { status, nextBefore, more } = pageOf(getState(), filter)
      if (status !== 'ready' || nextBefore === null || more === 'loading') return
      set(filter, { more: 'loading' })
      let outcome = 'idle'
      try {
        await act()
      } catch {
        outcome = 'error'
      }
      set(filter, { more: outcome })
    },

    /** The list is shown: load it if need be. */
    open(filter) {
      const { status } = pageOf(getState(), filter)
      set(filter, {}) // it was used last
      if (status === 'loading' || (status === 'ready' && !isStale(filter))) return
      pages.load(filter).catch(() => {})
    },

    /** An event was applied. @returns {boolean} whether the list that is shown has to be loaded again */
    hear(name, data, seq) {
      const arrival = arrivalsOf(name, data)
      if (arrival === null) return false
      arrivals.push({ ...arrival, seq })
      if (arrivals.length > MAX_ARRIVALS) forgottenSeq = arrivals.shift().seq
      return isStale(getState().filter)
    },

    /** Where the oldest of the lists stands; undefined if none was loaded. */
    offset: () => earliest(Object.values(getState().pages).map((page) => page.offset)),

    /** What is below this id was dropped from the replica. */
    raise(smallest) {
      for (const page of Object.values(getState().pages)) {
        if (page.floor < smallest) set(page.filter, { floor: smallest, nextBefore: smallest })
      }
    },

    /** History was lost: of the lists, only the one that is shown stays to be seen. */
    forget() {
      arrivals.length = 0
      forgottenSeq = -1
      loads.clear()
      const { filter, pages: lists } = getState()
      const key = filterKey(filter)
      setState({ pages: lists[key] === undefined ? {} : { [key]: { ...lists[key], offset: undefined, more: 'idle' } } })
    },
  }
  return pages
}
