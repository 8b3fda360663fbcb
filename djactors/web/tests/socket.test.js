import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'

import { createDjactors } from '#modules/shared/services/client.js'
import { createServer, deferred, job, notification, offsetOf, settle, tokenOf } from './fakes.js'

let server
let client

function make(more = {}) {
  client = createDjactors({ url: 'http://server', token: tokenOf(), io: server.io, fetch: server.fetch, ...more })
  return client
}
const socket = () => client.socket.state.getState()

beforeEach(() => {
  server = createServer()
})
afterEach(() => client.stop())

describe('connecting', () => {
  test('starts from the offset of the list that was loaded', async () => {
    make().start()
    await settle()
    expect(server.socket.auth).toEqual({ token: tokenOf(), since: offsetOf(10) })
  })

  test('starts from the older of two lists, so that neither has a gap behind it', async () => {
    make()
    server.seq = 7
    client.jobs.actions.openView({ assignee: null, status: null })
    await settle()
    server.seq = 12
    client.start()
    await settle()
    expect(server.socket.auth.since).toBe(offsetOf(7))
  })

  test('goes on without a list, and loads it once connected', async () => {
    server.intercept = () => ({ status: 503, body: { error: { code: 'unavailable', message: 'Busy.' } } })
    make().start()
    await settle()
    expect(server.socket.auth).toEqual({ token: tokenOf() })
    server.intercept = () => undefined
    server.items = [notification(1)]
    server.welcome()
    await settle()
    expect(client.notifications.getState().items.map(({ id }) => id)).toEqual([1])
  })

  test('a reconnect goes on from the last offset that was heard', async () => {
    make().start()
    await settle()
    server.welcome()
    server.arrive({ id: 1 })
    server.drop()
    expect(socket().status).toBe('reconnecting')
    server.socket.connect()
    expect(server.socket.auth.since).toBe(offsetOf(11))
    server.welcome({ recovered: true })
    expect(socket()).toMatchObject({ status: 'connected', recovered: true })
  })

  describe('where a copy of the database was put back', () => {
    const FIRST = { assignee: null, status: null }
    const shownJobs = () => [...client.jobs.getState().jobs.values()].map(({ title }) => title)

    /** A list that is later than all that the connection was told, and a database that has lost what came in between. */
    async function loseWhatAListHas() {
      make()
      server.jobs = [job(5, { title: 'kept' })]
      client.start()
      await settle()
      server.welcome()
      server.seq = 15
      server.jobs = [job(5, { title: 'lost' })]
      client.jobs.actions.openView(FIRST)
      await settle()
      server.drop()
      server.jobs = [job(5, { title: 'again' })]
      server.socket.connect()
      expect(server.socket.auth.since).toBe(offsetOf(10))
    }

    test('and written to again, a list of the lost past is loaded anew, though the connection goes on', async () => {
      await loseWhatAListHas()
      server.past = 'b'
      server.seq = 20
      server.welcome({ recovered: true })
      await settle()
      await settle()
      expect(shownJobs()).toEqual(['again'])
      server.send('job:updated', { job: job(5, { title: 'new' }) })
      expect(shownJobs()).toEqual(['new'])
    })

    test('and not written to since, it is as well', async () => {
      await loseWhatAListHas()
      server.seq = 10
      server.welcome({ recovered: true })
      await settle()
      await settle()
      expect(shownJobs()).toEqual(['again'])
      server.send('job:updated', { job: job(5, { title: 'new' }) })
      expect(shownJobs()).toEqual(['new'])
    })
  })

  test('a list that is later than what was heard, and of the same past, is not loaded again', async () => {
    make().start()
    await settle()
    server.welcome()
    server.seq = 15
    client.jobs.actions.openView({ assignee: null, status: null })
    await settle()
    server.drop()
    server.socket.connect()
    const before = server.requests.length
    server.welcome({ recovered: true })
    await settle()
    expect(server.requests.slice(before)).toEqual([`GET /api/changes?since=${offsetOf(15)}&limit=1`])
  })

  test('a list from before the point where the stream begins is asked for again', async () => {
    make()
    const held = deferred()
    server.intercept = (_, path) => (path === '/api/jobs' ? held.promise : undefined)
    server.jobs = [job(5)]
    client.jobs.actions.openView({ assignee: null, status: null })
    await settle()
    server.seq = 20
    server.jobs = [job(5, { status: 'approved' })]
    client.start()
    await settle()
    server.welcome()
    server.intercept = () => undefined
    held.resolve(undefined)
    await settle()
    await settle()
    expect(client.jobs.getState().jobs.get(5).status).toBe('approved')
  })

  test('a refused token ends the attempts and says why', async () => {
    make().start()
    await settle()
    server.refuse('token_invalid')
    expect(socket()).toMatchObject({ status: 'unauthorized', refusal: 'token_invalid' })
  })

  test('a token that the list refuses is not tried on the connection', async () => {
    server.intercept = () => ({ status: 401, body: { error: { code: 'unauthorized', message: 'the token has expired' } } })
    make({ token: tokenOf({ exp: 1 }) }).start()
    await settle()
    expect(socket()).toMatchObject({ status: 'unauthorized', refusal: 'token_expired' })
    expect(server.socket).toBeNull()
  })

  test('stopping leaves nothing behind', async () => {
    make().start()
    await settle()
    server.welcome()
    const { socket: left } = server
    client.stop()
    expect(left.connected).toBe(false)
    expect(left.any.size).toBe(0)
    expect(socket().status).toBe('idle')
  })
})

describe('emitting', () => {
  test('fails at once without a connection', async () => {
    make().start()
    await settle()
    await expect(client.socket.emit('notification:read', { notificationId: 1 })).rejects.toMatchObject({ code: 'offline' })
  })

  test('throws what the server refuses', async () => {
    make().start()
    await settle()
    server.welcome()
    server.answer.mockResolvedValueOnce({ ok: false, error: { code: 'too_many_requests', message: 'slow down' } })
    await expect(client.socket.emit('x')).rejects.toMatchObject({ code: 'too_many_requests', message: 'slow down' })
  })
})

describe('c9: a page that comes back from the back/forward cache', () => {
  const shown = (persisted) => dispatchEvent(new PageTransitionEvent('pageshow', { persisted }))

  test('connects anew at once, although the client takes itself for connected, and goes on where it was', async () => {
    make().start()
    await settle()
    server.welcome()
    server.arrive({ id: 1 })
    const at = server.offset()
    const before = server.connects
    shown(true)
    expect(server.connects).toBe(before + 1)
    expect(client.socket.state.getState().status).toBe('reconnecting')
    expect(server.socket.auth.since).toBe(at)
    server.welcome({ recovered: true })
    expect(client.socket.state.getState().status).toBe('connected')
  })

  test('a page that is only loaded, or was stopped or refused, does not', async () => {
    make().start()
    await settle()
    server.welcome()
    const before = server.connects
    shown(false)
    client.stop()
    shown(true)
    expect(server.connects).toBe(before)
    client.start()
    await settle()
    server.refuse('token_invalid')
    const after = server.connects
    shown(true)
    expect(server.connects).toBe(after)
  })
})

describe('a token that is about to end', () => {
  const expiring = () => server.send('auth:expiring', { expiresAt: '2026-01-27T11:00:00Z' }, server.offset())

  test('is replaced on the open connection, by what the host fetches', async () => {
    const fresh = tokenOf({ exp: 4_000_000_001 })
    const onToken = vi.fn()
    make({ refreshToken: async () => fresh, onToken }).start()
    await settle()
    server.welcome()
    const { connects } = server
    expiring()
    await settle()
    expect(server.socket.emitted).toEqual([['auth:refresh', { token: fresh }]])
    expect(server.connects).toBe(connects)
    expect(socket()).toMatchObject({ status: 'connected', expiresAt: null })
    expect(onToken).toHaveBeenCalledWith(fresh)
    await client.notifications.actions.load()
    expect(server.fetch.mock.calls.at(-1)[1].headers.Authorization).toBe(`Bearer ${fresh}`)
  })

  test('is told of when the host cannot, and can be replaced by hand', async () => {
    make().start()
    await settle()
    server.welcome()
    expiring()
    expect(socket().expiresAt).toBe('2026-01-27T11:00:00Z')
    await client.setToken(tokenOf({ exp: 4_000_000_002 }))
    expect(socket().expiresAt).toBeNull()
  })

  test('stays as it is when the server does not take the new one', async () => {
    make().start()
    await settle()
    server.welcome()
    expiring()
    server.answer.mockResolvedValueOnce({ ok: false, error: { code: 'tenant_mismatch', message: 'somebody else’s' } })
    await expect(client.setToken('other')).rejects.toMatchObject({ code: 'tenant_mismatch' })
    expect(socket().expiresAt).not.toBeNull()
    await client.notifications.actions.load()
    expect(server.fetch.mock.calls.at(-1)[1].headers.Authorization).toBe(`Bearer ${tokenOf()}`)
  })

  test('that has ended is fetched anew before the next attempt', async () => {
    const fresh = tokenOf({ exp: 4_000_000_003 })
    make({ refreshToken: async () => fresh }).start()
    await settle()
    server.refuse('token_expired')
    await settle()
    expect(server.socket.auth.token).toBe(fresh)
    server.welcome()
    expect(socket().status).toBe('connected')
  })
})

describe('jobs', () => {
  const ALL = { assignee: null, status: null }
  const MINE = { assignee: 'me', status: null }
  const { select } = { select: (filter) => client.jobs.actions.select(filter).map(({ id }) => id) }

  async function begin() {
    server.jobs = [job(1), job(2, { assigneeId: 3, assigneeName: 'Anna' })]
    make().start()
    client.jobs.actions.openView(ALL)
    client.jobs.actions.openView(MINE)
    await settle()
    server.welcome()
    await settle()
  }

  test('move between views as events say', async () => {
    await begin()
    expect([select(ALL), select(MINE)]).toEqual([[2, 1], [1]])
    server.send('job:assigned', { jobId: 2, djId: 'DJ', assigneeId: 2, assigneeName: 'Somchai' })
    server.send('job:updated', { job: job(3) })
    expect([select(ALL), select(MINE)]).toEqual([[3, 2, 1], [3, 2, 1]])
    server.send('approval:status-changed', { jobId: 1, djId: 'DJ', status: 'pending', approvedBy: 'Somchai' })
    expect(client.jobs.getState().jobs.get(1).status).toBe('pending_approval')
  })

  test('an older event does not undo a newer state', async () => {
    await begin()
    server.seq = 20
    server.jobs = [job(1, { status: 'approved' })]
    await client.jobs.actions.load(ALL)
    server.send('job:updated', { job: job(1, { status: 'pending_approval' }) }, server.offset(15))
    expect(client.jobs.getState().jobs.get(1).status).toBe('approved')
  })

  test('are loaded anew after a reset, where somebody looks at them', async () => {
    await begin()
    const before = server.requests.length
    server.jobs = [job(7)]
    server.send('changes:reset', { offset: server.offset() }, server.offset())
    await settle()
    expect(select(ALL)).toEqual([7])
    expect(server.requests.slice(before).filter((each) => each.startsWith('GET /api/jobs')).length).toBe(2)
  })

  test('a move shows the server’s answer, unless a later state was heard', async () => {
    await begin()
    server.jobs = [job(1, { status: 'completed', updatedAt: '2026-01-27T10:05:00Z' })]
    await client.jobs.actions.move(1, 'complete')
    expect(client.jobs.getState().jobs.get(1).status).toBe('completed')
    server.send('job:updated', { job: job(1, { status: 'open', updatedAt: '2026-01-27T10:09:00Z' }) })
    await client.jobs.actions.move(1, 'watch')
    expect(client.jobs.getState().jobs.get(1).status).toBe('open')
  })
})
