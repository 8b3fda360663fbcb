/**
 * What an answer of `GET /api/admin/actors` says: whether the installation is well, and what happened since the last one.
 *
 * Rules: pure, and forgiving: whatever a server leaves out is not known, and what is not known is no trouble.
 */

/** What is still well. */
export const LIMITS = {
  /** Seconds from commit to write at the 99th percentile: the seed's bound for a delivery. */
  delivery: 0.5,
  /** Seconds that the loop may be late: above it, every client feels it. */
  lag: 0.25,
  /** Share of a mailbox that may be full. */
  mailbox: 0.5,
  /** ms for which a restart is worth a word. */
  recent: 60_000,
}

const STATES = {
  starting: 'is starting',
  backing_off: 'crashed and is about to be restarted',
  quarantined: 'kept crashing and was set aside',
  stopping: 'is stopping',
  stopped: 'has stopped',
}

/** Every node, parents first, with the names that lead to it. */
export function* walk(node, path = []) {
  if (!node) return
  const here = [...path, node.name]
  yield { node, path: here }
  for (const child of node.children ?? []) yield* walk(child, here)
}

/** What to call a node: its way below the root. */
export const placeOf = (path) => path.slice(1).join('/') || path[0]
const key = ({ path }) => placeOf(path)

/**
 * The value below which a share of a histogram lies, in the histogram's unit; null where it holds nothing.
 * Within a bucket it is taken as even.
 */
export function percentile(histogram, share) {
  const { bounds, counts } = histogram
  const total = counts.reduce((sum, count) => sum + count, 0)
  if (total === 0) return null
  const rank = share * total
  let below = 0
  for (const [place, count] of counts.entries()) {
    if (count > 0 && below + count >= rank) {
      const from = place === 0 ? 0 : bounds[place - 1]
      const to = bounds[place] ?? bounds.at(-1)
      return from + (to - from) * Math.max(0, (rank - below) / count)
    }
    below += count
  }
  return bounds.at(-1)
}

const difference = (now, before) =>
  now && before && now.counts.every((count, place) => count >= before.counts[place])
    ? { bounds: now.bounds, counts: now.counts.map((count, place) => count - before.counts[place]) }
    : null

/**
 * One point of the charts, from two answers: rates a second, latencies in seconds; null where it is not known.
 * @param {{ at: number, answer: object }} now `at` in ms
 */
export function point(now, before) {
  // Another start counts from nothing.
  if (before && before.answer.startedAt !== now.answer.startedAt) return point(now, null)
  const seconds = before ? (now.at - before.at) / 1000 : 0
  const rate = (name) => {
    const [to, from] = [now.answer.counters?.[name], before?.answer.counters?.[name]]
    return to === undefined || from === undefined || to < from || seconds <= 0 ? null : (to - from) / seconds
  }
  const delivery = difference(now.answer.delivery, before?.answer.delivery)
  return {
    at: now.at,
    events: rate('events'),
    deliveries: rate('deliveries'),
    p50: delivery && percentile(delivery, 0.5),
    p99: delivery && percentile(delivery, 0.99),
  }
}

/**
 * The charts' points of the time before the first look.
 * @param {{ ago: number, events: number, deliveries: number, delivery: object }[]} history oldest first; `ago` in seconds
 * @param {{ at: number, answer: object }} now the answer that the history came with
 */
export function pointsOf(history, now) {
  const { startedAt } = now.answer
  const seen = history.map(({ ago, events, deliveries, delivery }) => ({
    at: now.at - ago * 1000,
    answer: { startedAt, counters: { events, deliveries }, delivery: delivery && { bounds: now.answer.delivery.bounds, counts: delivery } },
  }))
  return [...seen, now].slice(1).map((each, place) => point(each, seen[place]))
}

/** Restarts that this answer has and the one before had not: `{ path, count }[]`. */
export function newRestarts(answer, before) {
  if (!before || before.startedAt !== answer.startedAt) return []
  const known = new Map([...walk(before.tree)].map((entry) => [key(entry), entry.node.restarts]))
  return [...walk(answer.tree)]
    .map((entry) => ({ path: key(entry), count: entry.node.restarts - (known.get(key(entry)) ?? entry.node.restarts) }))
    .filter(({ count }) => count > 0)
}

/** A mailbox of so few messages is a bell: one that has been rung is no backlog. */
export const BELL = 1

/** The share of a mailbox that is full. */
export const full = (mailbox) => (mailbox && mailbox.capacity > 0 ? mailbox.depth / mailbox.capacity : 0)
const milliseconds = (seconds) => `${Math.round(seconds * 1000)} ms`
const many = (count, one, more = `${one}s`) => `${count} ${count === 1 ? one : more}`

/** Seconds after which a node that has not been seen is taken for gone: each says every five seconds that it is there. */
export const SILENT = 15

/**
 * What is wrong, worst first.
 *
 * @param {object} answer
 * @param {{ recent?: { path: string, at: number }[], points?: object[] }} [history] restarts seen lately, and the charts' points
 * @returns {{ severity: 'bad' | 'warn', where: string, what: string }[]}
 */
export function findings(answer, { recent = [], points = [] } = {}) {
  const found = []
  const add = (severity, where, what) => found.push({ severity, where, what })
  const { store, loop } = answer
  if (store && store.state !== 'running') {
    add('bad', 'store', `is ${store.state}${store.lastError ? ` (${store.lastError})` : ''}: nothing can be written`)
  }
  for (const [what, depth, capacity] of store
    ? [
        ['writes', store.writesQueued, store.writeCapacity],
        ['reads', store.readsQueued, store.readCapacity],
      ]
    : []) {
    if (full({ depth, capacity }) > LIMITS.mailbox) add('warn', 'store', `has ${depth} of ${capacity} ${what} waiting`)
  }
  for (const entry of walk(answer.tree)) {
    const { node } = entry
    if (STATES[node.state]) add(node.state === 'starting' ? 'warn' : 'bad', key(entry), STATES[node.state])
    if (node.mailbox?.capacity > BELL && full(node.mailbox) > LIMITS.mailbox) {
      add('warn', key(entry), `has ${node.mailbox.depth} of ${node.mailbox.capacity} messages waiting`)
    }
  }
  const restarted = new Map()
  for (const { path, count } of recent) restarted.set(path, (restarted.get(path) ?? 0) + count)
  for (const [path, count] of restarted) add('warn', path, `was restarted ${count === 1 ? 'once' : `${count} times`} in the last minute`)

  for (const { name, seenAgo } of answer.nodes ?? []) {
    if (seenAgo > SILENT) add('warn', name, `has not been seen for ${Math.round(seenAgo)} s: it was killed, or does not reach the database`)
  }

  const { quarantined = 0, rows = [] } = answer.users ?? {}
  const backingOff = rows.filter(({ state }) => state === 'backing_off').length
  const stale = rows.filter((row) => row.stale).length
  if (quarantined > 0) add('bad', 'users', `${many(quarantined, 'actor')} kept crashing and ${quarantined === 1 ? 'was' : 'were'} set aside`)
  if (backingOff > 0) add('warn', 'users', `${many(backingOff, 'actor')} crashed and will be restarted`)
  if (stale > 0) add('warn', 'users', `${many(stale, 'actor')} ${stale === 1 ? 'is' : 'are'} behind and catching up`)
  const crowded = rows.filter(({ mailbox }) => full(mailbox) > LIMITS.mailbox).length
  if (crowded > 0) add('warn', 'users', `${many(crowded, 'mailbox', 'mailboxes')} more than half full`)

  const late = Math.max(loop?.lag ?? 0, loop?.worst ?? 0)
  if (late > LIMITS.lag) add('warn', 'loop', `was late by ${milliseconds(late)} in the last ${loop.window ?? 60} seconds`)
  const slow = points.slice(-5).find(({ p99 }) => (p99 ?? 0) > LIMITS.delivery)
  if (slow) add('warn', 'deliveries', `take ${milliseconds(slow.p99)} at the 99th percentile`)
  return found.sort((a, b) => Number(b.severity === 'bad') - Number(a.severity === 'bad'))
}

/** The trouble that a user's actor is in, larger is worse: what is shown first. */
export function trouble(user) {
  return (
    (user.state === 'quarantined' ? 1000 : user.state === 'running' ? 0 : 500) +
    (user.stale ? 200 : 0) +
    full(user.mailbox) * 100 +
    (user.restarts > 0 ? 10 : 0)
  )
}
