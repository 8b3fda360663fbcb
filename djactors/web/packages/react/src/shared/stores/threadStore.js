/**
 * The comments on the jobs that are looked at, newest first.
 *
 * Rules:
 *  - A thread is there while somebody looks at it (`open`); the newest page is loaded then, and after each connect again.
 *  - A comment never changes, so its id is all that decides: what a page and an event both bring is there once.
 *  - The newest page takes the place of what it covers. Older comments stay if it reaches down to them; else they are left
 *    out until they are paged in again, so that nothing is missing in between.
 *  - What an event brought while the page was under way is newer than the page.
 */
import { createStore } from 'zustand/vanilla'

const PAGE_SIZE = 20
/** Comments kept of a thread; older ones can be paged in again. */
const MAX_KEPT = 1000

const EMPTY_THREAD = { status: 'loading', error: null, comments: [], nextBefore: null, more: 'idle' }

/** @param {{ api: ReturnType<import('../services/api.js').createApi>, learn: (people: { id: number, name: string }[]) => void }} options */
export function createThreadStore({ api, learn }) {
  /** By job id: `{ status, error, comments, nextBefore, more }`; of the threads that are open. */
  const store = createStore(() => ({}))
  const { getState, setState } = store
  const opened = new Map() // job id → { count, load, heard }

  const threadOf = (jobId) => getState()[jobId]
  const change = (jobId, part) => setState({ [jobId]: { ...(threadOf(jobId) ?? EMPTY_THREAD), ...part } })
  const learnFrom = (comments) => learn(comments.flatMap(({ authorId, authorName, mentions = [] }) => [{ id: authorId, name: authorName }, ...mentions]))
  const sorted = (comments) => {
    const unique = new Map(comments.map((comment) => [comment.id, comment]))
    return [...unique.values()].sort((a, b) => b.id - a.id)
  }

  async function load(jobId) {
    const entry = opened.get(jobId)
    if (entry === undefined) return
    const mine = ++entry.load
    entry.heard = new Set()
    if (threadOf(jobId)?.status !== 'ready') change(jobId, { status: 'loading', error: null })
    let page
    try {
      page = await api.comments(jobId, { limit: PAGE_SIZE })
    } catch (error) {
      if (opened.get(jobId) !== entry || mine !== entry.load) return
      if (threadOf(jobId).status !== 'ready') change(jobId, { status: 'error', error })
      return
    }
    // Somebody has asked again since, or nobody looks any more.
    if (opened.get(jobId) !== entry || mine !== entry.load) return
    const before = threadOf(jobId)
    const floor = page.nextBefore ?? 0
    const newer = before.comments.filter(({ id }) => entry.heard.has(id))
    const older = before.comments.filter(({ id }) => id < floor)
    const reaches = floor === 0 || before.comments.some(({ id }) => id === floor)
    const comments = sorted([...newer, ...page.items, ...(reaches ? older : [])])
    learnFrom(page.items)
    change(jobId, { status: 'ready', error: null, comments, nextBefore: reaches && older.length > 0 ? before.nextBefore : page.nextBefore, more: 'idle' })
  }

  async function loadMore(jobId) {
    const entry = opened.get(jobId)
    const thread = threadOf(jobId)
    if (thread?.status !== 'ready' || thread.nextBefore === null || thread.more === 'loading') return
    const before = thread.nextBefore
    change(jobId, { more: 'loading' })
    let page = null
    try {
      page = await api.comments(jobId, { limit: PAGE_SIZE, before })
    } catch {
      // Said by `more`.
    }
    // The thread may have started over meanwhile.
    if (opened.get(jobId) !== entry || threadOf(jobId).nextBefore !== before) return
    if (page === null) {
      change(jobId, { more: 'error' })
      return
    }
    learnFrom(page.items)
    change(jobId, { comments: sorted([...threadOf(jobId).comments, ...page.items]), nextBefore: page.nextBefore, more: 'idle' })
  }

  const actions = {
    /** Keep a thread loaded. @returns {() => void} no longer */
    open(jobId) {
      const entry = opened.get(jobId) ?? { count: 0, load: 0, heard: new Set() }
      entry.count += 1
      opened.set(jobId, entry)
      void load(jobId)
      return () => {
        entry.count -= 1
        if (entry.count > 0) return
        opened.delete(jobId)
        setState((threads) => Object.fromEntries(Object.entries(threads).filter(([id]) => id !== String(jobId))), true)
      }
    },
    load,
    loadMore,
    /** Take `comment:added` in. */
    take({ comment }) {
      const entry = opened.get(comment.jobId)
      if (entry === undefined) return
      entry.heard.add(comment.id)
      learnFrom([comment])
      const thread = threadOf(comment.jobId)
      const comments = sorted([comment, ...thread.comments])
      const kept = comments.slice(0, MAX_KEPT)
      // What a replay brings of long ago stands where the pages have not come to yet.
      if (thread.status === 'ready' && thread.nextBefore !== null && comment.id < thread.nextBefore) return
      change(comment.jobId, comments.length > kept.length ? { comments: kept, nextBefore: kept.at(-1).id } : { comments })
    },
    /** Load anew what is open: there is a connection again. */
    connected() {
      for (const jobId of opened.keys()) void load(jobId)
    },
    /** History was lost: nothing that is shown is sure. */
    async reload() {
      for (const jobId of opened.keys()) change(jobId, EMPTY_THREAD)
      await Promise.all([...opened.keys()].map(load))
    },
  }
  return Object.assign(store, { actions })
}
