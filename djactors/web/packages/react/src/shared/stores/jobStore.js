/**
 * The jobs of the tenant as far as they are looked at: lists by filter, single jobs, and the moves of the workflow.
 *
 * Rules:
 *  - A list is a view `{ assignee: 'me' | null, status: string | null }` of one replica; each has its own `nextBefore`.
 *    What is open (`openView`, `openJob`) is loaded, kept right by events, and loaded anew after a reset.
 *  - A job that an event brings shows at once in every view that it belongs to, and leaves those that it no longer does.
 *  - Moves are not optimistic: who may do what is the server's to say. The answer is shown as soon as it is there.
 */
import { createStore } from 'zustand/vanilla'

import { earliest } from '../services/offsets.js'
import { createReplica } from './replica.js'

const PAGE_SIZE = 20
const MAX_TRIES = 3
const EMPTY_VIEW = { status: 'idle', nextBefore: null, floor: Infinity, more: 'idle' }

function applyEvent(entries, { name, data, seq }) {
  const id = name === 'job:updated' ? data.job.id : data.jobId
  const entry = entries.get(id)
  if (entry !== undefined && entry.seq >= seq) return
  if (name === 'job:updated') entries.set(id, { value: data.job, seq })
  else if (entry === undefined) return
  else if (name === 'job:assigned') {
    const { assigneeId, assigneeName } = data
    entries.set(id, { value: { ...entry.value, assigneeId, assigneeName }, seq })
  } else if (name === 'approval:status-changed') {
    const status = data.status === 'pending' ? 'pending_approval' : data.status
    entries.set(id, { value: { ...entry.value, status }, seq })
  }
}

export const viewKey = ({ assignee = null, status = null }) => `${assignee ?? 'anyone'}/${status ?? 'any'}`

/**
 * @param {object} options
 * @param {ReturnType<import('../services/api.js').createApi>} options.api
 * @param {() => number | undefined} options.me the id of the signed-in person
 */
export function createJobStore({ api, me }) {
  const replica = createReplica({ apply: applyEvent })
  const opened = new Map() // key → { filter, count }
  const openedJobs = new Map() // id → count
  const offsets = new Map()
  const touched = new Set()

  const store = createStore(() => ({
    /** All jobs that are known, by id. */
    jobs: new Map(),
    /** By `viewKey`. */
    views: {},
    /** Single jobs that were asked for: id → loading, ready, missing, error. */
    lookups: {},
    /** The job that an event changed last, to point it out: `{ id, at }`. */
    touched: null,
  }))
  const { getState, setState } = store

  const show = (more = {}) =>
    setState({ jobs: new Map([...replica.entries].map(([id, { value }]) => [id, value])), ...more })
  const viewOf = (key) => getState().views[key] ?? EMPTY_VIEW
  const setView = (key, change) => setState(({ views }) => ({ views: { ...views, [key]: { ...(views[key] ?? EMPTY_VIEW), ...change } } }))
  const setLookup = (id, status) => setState(({ lookups }) => ({ lookups: { ...lookups, [id]: status } }))

  const matches = (filter, job) =>
    (!filter.assignee || job.assigneeId === (filter.assignee === 'me' ? me() : filter.assignee)) &&
    (!filter.status || job.status === filter.status)

  async function load(filter) {
    const key = viewKey(filter)
    const settled = viewOf(key).status === 'ready'
    setView(key, { status: settled ? 'ready' : 'loading' })
    for (let tries = 1; tries <= MAX_TRIES; tries += 1) {
      const ticket = replica.begin()
      let page
      try {
        page = await api.jobs({ ...filter, limit: PAGE_SIZE })
      } catch (error) {
        replica.abandon(ticket)
        if (!settled) setView(key, { status: 'error' })
        throw error
      }
      const floor = page.nextBefore ?? 0
      const covers = (job) => job.id >= floor && matches(filter, job)
      if (replica.settle(ticket, page, { whole: true, covers })) {
        offsets.set(key, page.offset)
        setView(key, { status: 'ready', nextBefore: page.nextBefore, floor, more: 'idle' })
        show()
        return
      }
    }
    setView(key, { status: 'error' })
  }

  async function loadMore(filter) {
    const key = viewKey(filter)
    const { status, nextBefore, more } = viewOf(key)
    if (status !== 'ready' || nextBefore === null || more === 'loading') return
    setView(key, { more: 'loading' })
    const ticket = replica.begin()
    let page
    try {
      page = await api.jobs({ ...filter, limit: PAGE_SIZE, before: nextBefore })
    } catch {
      replica.abandon(ticket)
      setView(key, { more: 'error' })
      return
    }
    if (!replica.settle(ticket, page)) {
      setView(key, { more: 'idle' })
      return
    }
    setView(key, { nextBefore: page.nextBefore, floor: page.nextBefore ?? 0, more: 'idle' })
    show()
  }

  async function loadJob(id) {
    const ticket = replica.begin()
    if (!replica.entries.has(id)) setLookup(id, 'loading')
    try {
      const job = await api.job(id)
      replica.settleOne(ticket, job)
      show()
      setLookup(id, 'ready')
    } catch (error) {
      replica.abandon(ticket)
      if (error.code === 'not_found') setLookup(id, 'missing')
      else if (!replica.entries.has(id)) setLookup(id, 'error')
      throw error
    }
  }

  function answered(job) {
    // An event may have brought a later state than this answer.
    replica.amend(job.id, (known) => (known.updatedAt <= job.updatedAt ? job : known))
    replica.add(job)
    touched.add(job.id)
    show()
    return job
  }

  const release = (map, key) => () => {
    const entry = map.get(key)
    if (entry === undefined) return
    entry.count -= 1
    if (entry.count === 0) map.delete(key)
  }

  const actions = {
    /** Keep a list loaded. @returns {() => void} no longer */
    openView(filter) {
      const key = viewKey(filter)
      const entry = opened.get(key) ?? { filter, count: 0 }
      entry.count += 1
      opened.set(key, entry)
      if (!['ready', 'loading'].includes(viewOf(key).status)) load(filter).catch(() => {})
      return release(opened, key)
    },
    /** Keep one job loaded. @returns {() => void} no longer */
    openJob(id) {
      const entry = openedJobs.get(id) ?? { count: 0 }
      entry.count += 1
      openedJobs.set(id, entry)
      loadJob(id).catch(() => {})
      return release(openedJobs, id)
    },
    /** Load a list or a job again, after an error. */
    load: (filter) => load(filter).catch(() => {}),
    loadJob: (id) => loadJob(id).catch(() => {}),
    loadMore,

    /** Create a job. Resolves to it, or rejects with an `ApiError`; so does the next. */
    create: async (body) => answered(await api.createJob(body)),
    /** Move a job: assign, submit, approve, reject, complete, comments, watch, unwatch, deadline, cancel, title. */
    move: async (id, move, body) => answered(await api.moveJob(id, move, body)),

    /** Take a server event in. */
    take(name, data, { offset, live }) {
      const outcome = replica.take(name, data, offset)
      if (outcome === 'foreign') actions.reload().catch(() => {})
      if (outcome !== 'applied') return
      const id = name === 'job:updated' ? data.job.id : data.jobId
      touched.add(id)
      const smallest = replica.prune()
      if (smallest !== null) {
        for (const [key, view] of Object.entries(getState().views)) {
          if (view.floor < smallest) setView(key, { floor: smallest, nextBefore: smallest })
        }
        for (const each of touched) if (!replica.entries.has(each)) touched.delete(each)
      }
      show(live ? { touched: { id, at: Date.now() } } : {})
    },
    /** History was lost: load anew what is open; the rest when it is opened again. Rejects with an `ApiError`. */
    reload() {
      replica.forget()
      offsets.clear()
      touched.clear()
      for (const key of Object.keys(getState().views)) if (!opened.has(key)) setView(key, EMPTY_VIEW)
      return Promise.all([
        ...[...opened.values()].map(({ filter }) => load(filter)),
        ...[...openedJobs.keys()].map((id) => loadJob(id)),
      ])
    },
    /** The connection is back: load what could not be loaded. */
    mend() {
      for (const [key, { filter }] of opened) if (viewOf(key).status === 'error') load(filter).catch(() => {})
      for (const id of openedJobs.keys()) if (getState().lookups[id] === 'error') loadJob(id).catch(() => {})
    },
    offset: () => earliest([...offsets.values()]),
    /** The offset of the latest answer. */
    listed: () => replica.listed,
    streamFrom: (at) => replica.streamFrom(at),
    /** What a view shows, newest first. */
    select: (filter) => {
      const { floor } = viewOf(viewKey(filter))
      return [...getState().jobs.values()]
        .filter((job) => matches(filter, job) && (job.id >= floor || touched.has(job.id)))
        .sort((a, b) => b.id - a.id)
    },
  }
  return Object.assign(store, { actions })
}
