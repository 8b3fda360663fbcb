/**
 * The HTTP routes of a djactors server, with the token of the person who acts.
 *
 * Rules: every call resolves to the answer's JSON or throws an `ApiError`; nothing is retried here, and nothing is
 * cached. The token is asked for at each call, so that a refreshed one is used at once.
 */

import { learnTime } from './clock.js'

const TIMEOUT = 20_000 // ms: the server itself answers within its command timeout of 15 s
const HERE = globalThis.location?.origin ?? 'http://localhost'

/** A refusal. `code` is the server's word (`not_found`, `forbidden` …), or `offline` where no answer came. */
export class ApiError extends Error {
  constructor(code, message, status = 0) {
    super(message)
    this.name = 'ApiError'
    this.code = code
    this.status = status
  }
}

const query = (parameters) => {
  const search = new URLSearchParams()
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== undefined && value !== null && value !== '') search.set(name, String(value))
  }
  const text = search.toString()
  return text && `?${text}`
}

/**
 * @param {object} options
 * @param {string} [options.url] the server's origin; by default the page's own
 * @param {() => string} options.getToken
 * @param {(error: ApiError) => void} [options.onUnauthorized] told of every 401
 * @param {typeof fetch} [options.fetch]
 */
export function createApi({ url = '', getToken, onUnauthorized, fetch = globalThis.fetch.bind(globalThis) }) {
  const origin = new URL(url || '/', HERE).origin

  async function call(method, path, body) {
    let response
    const asked = performance.now()
    try {
      response = await fetch(origin + path, {
        method,
        headers: {
          Authorization: `Bearer ${getToken()}`,
          ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
        },
        body: body === undefined ? undefined : JSON.stringify(body),
        cache: 'no-store',
        signal: AbortSignal.timeout(TIMEOUT),
      })
    } catch {
      throw new ApiError('offline', 'The server cannot be reached.')
    }
    learnTime(response.headers?.get('date'), performance.now() - asked)
    const answer = await response.json().catch(() => null)
    if (response.ok && answer !== null) return answer
    // A proxy speaks for a server that is not there.
    if (answer?.error === undefined && response.status > 501) throw new ApiError('offline', 'The server cannot be reached.', response.status)
    const { code = 'internal', message = `The server answered ${response.status}.` } = answer?.error ?? {}
    const error = new ApiError(code, message, response.status)
    if (response.status === 401) onUnauthorized?.(error)
    throw error
  }

  const job = (id) => `/api/jobs/${encodeURIComponent(id)}`
  return {
    /** `{ items, nextBefore, unreadCount, unseenCount, offset }`, newest first. */
    notifications: ({ view, unread, type, priority, job: jobId, query: text, limit = 20, before } = {}) =>
      call('GET', `/api/notifications${query({ view, unread: unread || undefined, type, priority, job: jobId, query: text, limit, before })}`),
    /** `kind`: read, unread, archive, unarchive, snooze (with `until`), unsnooze. `{ ok, count, unseen }`, like the following. */
    change: (id, kind, { until } = {}) => call('POST', `/api/notifications/${id}/${kind}`, until === undefined ? undefined : { until }),
    markAllRead: () => call('POST', '/api/notifications/read-all'),
    markSeen: (body) => call('POST', '/api/notifications/seen', body),
    remove: (id) => call('DELETE', `/api/notifications/${id}`),
    readJob: (id) => call('POST', `${job(id)}/read-notifications`),
    muteJob: (id, muted) => call('POST', `${job(id)}/${muted ? 'mute' : 'unmute'}`),
    /** `{ muted }` */
    isMuted: (id) => call('GET', `${job(id)}/mute`),
    /** `{ items, nextBefore, offset }`, newest first; `assignee` is `me` or an id. */
    jobs: ({ assignee, status, limit = 20, before } = {}) =>
      call('GET', `/api/jobs${query({ assignee, status, limit, before })}`),
    /** `{ items, offset, reset }`: what came after an offset; `reset` where the database has no such past. */
    changes: (since, limit) => call('GET', `/api/changes${query({ since, limit })}`),
    job: (id) => call('GET', job(id)),
    createJob: (body) => call('POST', '/api/jobs', body),
    /** `move`: assign, submit, approve, reject, complete, cancel, title, comments, watch, unwatch, deadline. Resolves to the job. */
    moveJob: (id, move, body = {}) => call('POST', `${job(id)}/${move}`, body),
    /** `{ items, nextBefore, offset }`, newest first. */
    comments: (id, { limit = 20, before } = {}) => call('GET', `${job(id)}/comments${query({ limit, before })}`),
    /** `{ items, nextBefore }`, in the order of the names. */
    people: ({ query: text, limit = 20, before } = {}) => call('GET', `/api/people${query({ query: text, limit, before })}`),
    /** `{ userId, active }`, like the next; role admin. */
    deactivate: (id) => call('POST', `/api/users/${id}/deactivate`, {}),
    activate: (id) => call('POST', `/api/users/${id}/activate`, {}),
    /** `{ items, nextBefore }`, newest first: of what somebody was not notified; role admin. */
    suppressions: ({ userId, limit = 20, before }) => call('GET', `/api/admin/suppressions${query({ userId, limit, before })}`),
    /** The live actor tree; role admin. `history`: with the counters of the last two minutes. */
    actors: ({ history = false } = {}) => call('GET', `/api/admin/actors${query({ history: history || undefined })}`),
  }
}
