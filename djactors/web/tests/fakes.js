/**
 * A djactors server in memory, as far as the modules see it: an inbox and jobs behind `fetch`, and the server's end of a
 * Socket.IO connection behind `io`. It keeps one sequence, as the real one does.
 */
import { vi } from 'vitest'

/** The offset of a number in a past; in each past a number has another mark. */
export const offsetOf = (seq, past = 'a') => (seq === 0 ? '.0' : `${past}${String(seq).padStart(10, '-')}.${seq}`)

export const tokenOf = (claims = {}) => {
  const body = { userId: 2, tenantId: 1, role: 'user', name: 'Somchai', exp: 4_000_000_000, ...claims }
  return `h.${btoa(JSON.stringify(body)).replace(/=+$/, '')}.s`
}

/** The client's end: what `socketService` uses of the stock socket. */
class FakeSocket {
  constructor(server, options) {
    this.server = server
    this.options = options
    this.handlers = new Map()
    this.any = new Set()
    this.connected = false
    this.active = true
    this.recovered = false
    this.emitted = []
    this.auth = null
  }

  on(name, handler) {
    if (!this.handlers.has(name)) this.handlers.set(name, new Set())
    this.handlers.get(name).add(handler)
    return this
  }
  onAny(handler) {
    this.any.add(handler)
  }
  offAny(handler) {
    this.any.delete(handler)
  }
  removeAllListeners() {
    this.handlers.clear()
  }
  fire(name, ...args) {
    for (const handler of this.handlers.get(name) ?? []) handler(...args)
  }
  connect() {
    this.active = true
    this.server.connects += 1
    this.options.auth((auth) => {
      this.auth = auth
    })
  }
  disconnect() {
    const was = this.connected
    this.connected = false
    this.active = false
    if (was) this.fire('disconnect', 'io client disconnect')
  }
  timeout() {
    return {
      emit: (name, payload, done) => {
        this.emitted.push([name, payload])
        this.server.answer(name, payload).then((ack) => done(null, ack), done)
      },
    }
  }
}

export function createServer() {
  const server = {
    seq: 10,
    past: 'a',
    connects: 0,
    items: [],
    jobs: [],
    people: [],
    comments: [],
    suppressions: [],
    socket: null,
    requests: [],
    /** Answers to emitted events; a test replaces it to refuse or to hold one back. */
    answer: vi.fn(async () => ({ ok: true, ...server.counts() })),
    /** Ids that nobody has seen yet; null is all unread ones. */
    unseen: null,
    /** Ids of muted jobs. */
    muted: new Set(),
    /** Called with each request before it is answered; may return a `{ status, body }` or a promise. */
    intercept: () => undefined,

    unread: () => server.items.filter(({ isRead, place = 'inbox' }) => !isRead && place === 'inbox').length,
    counts: () => ({ count: server.unread(), unseen: server.unseen ?? server.unread() }),
    offset: (seq = server.seq) => offsetOf(seq, server.past),

    io: (url, options) => {
      server.socket = new FakeSocket(server, options)
      server.socket.connect()
      return server.socket
    },

    fetch: vi.fn(async (url, { method = 'GET', body } = {}) => {
      const { pathname, searchParams } = new URL(url)
      server.requests.push(`${method} ${pathname}${searchParams.size ? `?${searchParams}` : ''}`)
      // The snapshot is of the moment of the request; the answer may come later.
      const answer = JSON.parse(JSON.stringify(server.route(method, pathname, searchParams, body && JSON.parse(body))))
      const other = await server.intercept(method, pathname)
      const { status = 200, body: text } = other ?? { body: answer }
      return { ok: status < 400, status, json: async () => text }
    }),

    route(method, path, query, body) {
      const page = (all) => {
        const limit = Number(query.get('limit') ?? 20)
        const before = Number(query.get('before') ?? Infinity)
        const found = all.filter(({ id }) => id < before).sort((a, b) => b.id - a.id)
        const items = found.slice(0, limit)
        return { items, nextBefore: found.length > limit ? items.at(-1).id : null, offset: server.offset() }
      }
      if (path === '/api/notifications') {
        const all = server.items.filter(
          ({ place = 'inbox', ...item }) =>
            place === (query.get('view') ?? 'inbox') &&
            (!query.get('unread') || !item.isRead) &&
            (!query.get('type') || item.type === query.get('type')) &&
            (!query.get('priority') || item.priority === query.get('priority')) &&
            (!query.get('job') || item.data?.jobId === Number(query.get('job'))),
        )
        const { items, ...rest } = page(all)
        // Like the server's: a search looks at so many, and answers what it has found among them.
        const found = items.filter(({ title }) => title.toLowerCase().includes((query.get('query') ?? '').toLowerCase()))
        const { count, unseen } = server.counts()
        return { items: found.map(({ place: _, ...item }) => item), ...rest, unreadCount: count, unseenCount: unseen }
      }
      if (path === '/api/jobs' && method === 'POST') return { ...job(99), ...body }
      if (path === '/api/jobs') {
        const status = query.get('status')
        const mine = query.get('assignee') === 'me'
        return page(server.jobs.filter((each) => (!status || each.status === status) && (!mine || each.assigneeId === 2)))
      }
      if (path === '/api/changes') {
        const since = query.get('since')
        const seq = Number(since.split('.')[1])
        // Of another past, or not yet of this one.
        return { items: [], offset: server.offset(), reset: since !== server.offset(seq) || seq > server.seq }
      }
      const mute = /^\/api\/jobs\/(\d+)\/mute$/.exec(path)
      if (mute && method === 'GET') return { muted: server.muted.has(Number(mute[1])) }
      if (path === '/api/people') {
        const begin = (query.get('query') ?? '').toLowerCase()
        const found = server.people.filter(({ name }) => name.toLowerCase().startsWith(begin))
        const limit = Number(query.get('limit'))
        return { items: found.slice(0, limit), nextBefore: found.length > limit ? 'next' : null }
      }
      if (path === '/api/admin/suppressions') return page(server.suppressions)
      const thread = /^\/api\/jobs\/(\d+)\/comments$/.exec(path)
      if (thread && method === 'GET') return page(server.comments.filter(({ jobId }) => jobId === Number(thread[1])))
      const one = /^\/api\/jobs\/(\d+)(\/\w+)?$/.exec(path)
      if (one) return server.jobs.find(({ id }) => id === Number(one[1])) ?? {}
      return { ok: true, ...server.counts() }
    },

    /** The CONNECT reply. */
    accept({ recovered = false } = {}) {
      Object.assign(server.socket, { connected: true, recovered })
      server.socket.fire('connect')
    },
    /** The reply, and the count that closes the replay. */
    welcome(options) {
      server.accept(options)
      server.count()
    },
    drop() {
      server.socket.connected = false
      server.socket.active = true
      server.socket.fire('disconnect', 'transport close')
    },
    refuse(code) {
      server.socket.active = false
      server.socket.fire('connect_error', Object.assign(new Error('Unauthorized'), { data: { code } }))
    },
    /** One server event, with its offset; logged ones take the next number. */
    send(name, data, at = server.offset(++server.seq)) {
      for (const hear of server.socket.any) hear(name, data, at)
    },
    count(value = server.unread(), at = server.offset(), unseen = Math.min(value, server.unseen ?? value)) {
      server.send('notification:unread-count', { count: value, unseen }, at)
    },
    /** Somebody comments. */
    comment(id, more) {
      const whole = comment(id, more)
      server.comments = [...server.comments, whole]
      server.send('comment:added', { comment: whole })
    },
    /** A notification arrives: in the inbox, and by event and count. */
    arrive(item) {
      const whole = notification(item.id, item)
      server.items = [...server.items.filter(({ id }) => id !== item.replaces), whole]
      const { isRead: _, readAt: __, ...wire } = whole
      server.send('notification:new', wire)
      server.count()
    },
  }
  return server
}

export const notification = (id, more = {}) => ({
  id,
  type: 'job_assigned',
  priority: 'HIGH',
  title: `DJ-2026-${id} assigned to you`,
  message: 'Banner',
  data: { jobId: 5, djId: 'DJ-2026-0005' },
  createdAt: '2026-01-27T10:30:00Z',
  isRead: false,
  readAt: null,
  ...more,
})

export const job = (id, more = {}) => ({
  id,
  djId: `DJ-2026-${id}`,
  title: `Job ${id}`,
  projectId: null,
  jobTypeId: null,
  status: 'assigned',
  requesterId: 1,
  assigneeId: 2,
  assigneeName: 'Somchai',
  approverId: 4,
  managerId: null,
  watcherIds: [],
  deadline: null,
  createdAt: '2026-01-27T10:00:00Z',
  updatedAt: '2026-01-27T10:00:00Z',
  ...more,
})

export const person = (id, name, more = {}) => ({ id, name, role: 'user', active: true, connected: false, ...more })

export const comment = (id, more = {}) => ({
  id,
  jobId: 5,
  authorId: 4,
  authorName: 'Nok',
  text: `comment ${id}`,
  mentions: [],
  createdAt: '2026-01-27T10:30:00Z',
  ...more,
})

/** A promise to settle from outside. */
export function deferred() {
  const made = {}
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }))
  return made
}

/** Let everything that is ready run. */
export const settle = () => new Promise((resolve) => setTimeout(resolve, 0))
