import { act, fireEvent, render, screen, within } from '@testing-library/react'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'

import { roundUp } from '#modules/features/observer/components/Chart.jsx'
import { findings, newRestarts, percentile, point, pointsOf } from '#modules/features/observer/model.js'
import Observer from '#modules/features/observer/pages/Observer.jsx'
import { DjactorsContext } from '#modules/shared/DjactorsContext.js'
import { createDjactors } from '#modules/shared/services/client.js'
import { createServer, person, tokenOf } from './fakes.js'

const mailbox = (depth = 0) => ({ depth, capacity: 100, highWater: depth, received: 0, refused: 0, waitingSenders: 0 })
const actor = (name, more = {}) => ({ name, kind: 'actor', state: 'running', restarts: 0, crashes: 0, dropped: 0, mailbox: mailbox(), lastError: null, children: [], ...more })
const histogram = (...counts) => ({ bounds: [0.001, 0.01, 0.1, 1], counts, sum: 0 })
const answer = (more = {}) => ({
  startedAt: '2026-01-27T10:00:00Z',
  store: { state: 'running', writesQueued: 0, writeCapacity: 100, readsQueued: 0, readCapacity: 100, commits: 1, failed: 0, lastError: null },
  tree: actor('root', { kind: 'supervisor', mailbox: null, children: [actor('router'), actor('users', { kind: 'supervisor', mailbox: null })] }),
  users: { total: 0, sockets: 0, quarantined: 0, tenant: { total: 0 }, rows: [], leftOut: 0 },
  loop: { lag: 0.001, worst: 0.002, window: 60 },
  counters: { events: 10, deliveries: 20 },
  delivery: histogram(0, 0, 0, 0, 0),
  ...more,
})
const user = (userId, more = {}) => ({ userId, state: 'running', sockets: 1, stale: false, restarts: 0, mailbox: mailbox(), ...more })

describe('what is wrong', () => {
  test('nothing, where all is well, or where a server says less', () => {
    expect(findings(answer())).toEqual([])
    expect(findings({ tree: actor('root') })).toEqual([])
  })

  test.each([
    ['a node that was set aside', { tree: actor('root', { children: [actor('router', { state: 'quarantined' })] }) }, 'bad', 'router'],
    ['a mailbox that fills up', { tree: actor('root', { children: [actor('router', { mailbox: mailbox(51) })] }) }, 'warn', 'router'],
    ['a store that writes nothing', { store: { state: 'broken', lastError: 'StoreUnavailable' } }, 'bad', 'store'],
    ['a store that is behind', { store: { state: 'running', writesQueued: 60, writeCapacity: 100 } }, 'warn', 'store'],
    ['a loop that was late', { loop: { lag: 0, worst: 0.3, window: 60 } }, 'warn', 'loop'],
    ['users who are behind', { users: { total: 1, rows: [user(1, { stale: true })] } }, 'warn', 'users'],
    ['users who were set aside', { users: { total: 1, quarantined: 1 } }, 'bad', 'users'],
  ])('%s', (_, more, severity, where) => {
    expect(findings(answer(more))).toMatchObject([{ severity, where }])
  })

  test('a bell that has been rung is no backlog', () => {
    const bell = { ...mailbox(1), capacity: 1 }
    expect(findings(answer({ tree: actor('root', { children: [actor('clock', { mailbox: bell })] }) }))).toEqual([])
  })

  test('the worst comes first; a restart and a slow delivery are told', () => {
    const found = findings(answer({ store: { state: 'broken' } }), { recent: [{ path: 'router', count: 2, at: 0 }], points: [{ p99: 0.6 }] })
    expect(found.map(({ where }) => where)).toEqual(['store', 'router', 'deliveries'])
  })
})

describe('what happened since', () => {
  test('rates and latencies are differences; a restarted server makes a gap', () => {
    const before = { at: 0, answer: answer({ delivery: histogram(5, 0, 0, 0, 0) }) }
    const now = { at: 2000, answer: answer({ counters: { events: 30, deliveries: 60 }, delivery: histogram(5, 10, 0, 0, 0) }) }
    expect(point(now, before)).toMatchObject({ events: 10, deliveries: 20, p50: expect.closeTo(0.0055) })
    expect(point(before, now)).toMatchObject({ events: null, deliveries: null, p50: null })
    expect(point(now, null)).toMatchObject({ events: null, p99: null })
  })

  test('another start of the server is no restart of its actors, and begins anew', () => {
    const again = answer({ startedAt: '2026-01-27T11:00:00Z', counters: { events: 1000, deliveries: 1000 }, tree: actor('root', { restarts: 5 }) })
    expect(point({ at: 2000, answer: again }, { at: 0, answer: answer() })).toMatchObject({ events: null, p99: null })
    expect(newRestarts(again, answer())).toEqual([])
  })

  test('restarts are seen once', () => {
    const restarted = answer({ tree: actor('root', { children: [actor('router', { restarts: 1 })] }) })
    expect(newRestarts(restarted, answer())).toEqual([{ path: 'router', count: 1 }])
    expect(newRestarts(restarted, restarted)).toEqual([])
  })

  test.each([
    [[0, 0, 0, 0, 0], 0.5, null],
    [[0, 10, 0, 0, 0], 1, 0.01],
    [[0, 0, 0, 0, 3], 0.5, 1],
  ])('of %j the share %d is %j', (counts, share, value) => {
    const found = percentile(histogram(...counts), share)
    expect(found === null ? null : Number(found.toPrecision(6))).toBe(value)
  })

  test.each([[0, 1], [3, 5], [10, 10], [0.0041, 0.005]])('above %d a chart ends at %d', (value, top) => expect(roundUp(value)).toBeCloseTo(top))
})

describe('what the server remembers', () => {
  const past = [
    { ago: 3, events: 0, deliveries: 0, delivery: [0, 0, 0, 0, 0] },
    { ago: 2, events: 4, deliveries: 8, delivery: [8, 0, 0, 0, 0] },
  ]
  test('makes the points before the first look', () => {
    const now = { at: 100_000, answer: answer({ delivery: histogram(20, 0, 0, 0, 0) }) }
    expect(pointsOf(past, now)).toMatchObject([
      { at: 98_000, events: 4, deliveries: 8, p50: expect.closeTo(0.0005) },
      { at: 100_000, events: 3, deliveries: 6 },
    ])
    expect(pointsOf([], now)).toEqual([])
  })
})

describe('the view', () => {
  let answers
  let server
  beforeEach(() => {
    vi.useFakeTimers()
    server = createServer()
    answers = () => answer()
  })
  afterEach(() => vi.useRealTimers())
  const show = async () => {
    const actors = vi.fn(async () => answers())
    const client = createDjactors({ url: 'http://server', token: tokenOf({ role: 'admin' }), io: server.io, fetch: server.fetch })
    client.api.actors = actors
    render(<DjactorsContext value={{ client }}><Observer /></DjactorsContext>)
    await act(() => vi.advanceTimersByTimeAsync(10))
    // The lists below it are asked for once it is there.
    await act(() => vi.advanceTimersByTimeAsync(10))
    return actors
  }

  test('says that all is well, and soon when it no longer is', async () => {
    answers = () => answer()
    await show()
    expect(screen.getByRole('heading', { level: 1 }).textContent).toBe('All well')
    answers = () => answer({ store: { state: 'broken', lastError: 'StoreUnavailable' } })
    await act(() => vi.advanceTimersByTimeAsync(1100))
    expect(screen.getByTestId('observer-state').dataset.state).toBe('troubled')
    expect(screen.getByRole('heading', { level: 1 }).textContent).toContain('StoreUnavailable')
  })

  test('begins its charts with the two minutes before, and asks for them once', async () => {
    const past = [{ ago: 60, events: 0, deliveries: 0, delivery: [0, 0, 0, 0, 0] }, { ago: 30, events: 5, deliveries: 5, delivery: [5, 0, 0, 0, 0] }]
    answers = () => answer({ history: past, delivery: histogram(20, 0, 0, 0, 0) })
    const actors = await show()
    expect(screen.getByTestId('chart-throughput').querySelectorAll('path').length).toBe(2)
    await act(() => vi.advanceTimersByTimeAsync(1100))
    expect(actors.mock.calls).toEqual([[{ history: true }], [{ history: false }]])
  })

  test('a full bar is a full queue, and what was is only a mark', async () => {
    const once = { ...mailbox(0), highWater: 100 }
    const children = [actor('router', { mailbox: mailbox(100) }), actor('clock', { mailbox: once }), actor('half', { mailbox: mailbox(50) })]
    answers = () => answer({ tree: actor('root', { kind: 'supervisor', mailbox: null, children }) })
    await show()
    const bars = Object.fromEntries(screen.getAllByTestId('actor-node').map((node) => [node.dataset.name, node]))
    const filled = (name) => within(bars[name]).getAllByTestId('gauge')[0].firstElementChild.style.width
    expect([filled('router'), filled('clock'), filled('half')]).toEqual(['100%', '0%', '50%'])
    expect(bars.router.textContent).toContain('Mailbox 100 of 100 full')
    expect(bars.clock.textContent).toContain('Mailbox 0 of 100')
    expect(bars.clock.textContent).not.toContain('full')
  })

  test('says so when there is no answer any more', async () => {
    answers = () => answer()
    await show()
    answers = () => Promise.reject(new Error('gone'))
    await act(() => vi.advanceTimersByTimeAsync(7000))
    expect(screen.getByTestId('observer-state').dataset.state).toBe('unknown')
  })

  test('draws a bounded number of thousands of users, those in trouble first', async () => {
    const rows = Array.from({ length: 5000 }, (_, place) => user(place + 1))
    rows[4321] = user(4322, { state: 'quarantined' })
    answers = () => answer({ users: { total: 5000, sockets: 5000, quarantined: 1, tenant: { total: 5000 }, rows, leftOut: 7 } })
    await show()
    const tiles = screen.getAllByTestId('user-node')
    expect(tiles.length).toBeLessThan(500)
    expect(tiles[0].dataset.userId).toBe('4322')
    expect(screen.getByTestId('users-rest').textContent).toContain((5007 - tiles.length).toLocaleString())
  })

  test('lists the nodes that share the database, and says which one is gone', async () => {
    const node = { name: 'one-abc', isThis: true, startedAt: '', seenAgo: 2, version: '0.2.0', url: 'http://one', users: 1, sockets: 2 }
    answers = () => answer({ nodes: [node, { ...node, name: 'two-def', isThis: false, seenAgo: 40 }] })
    await show()
    expect(screen.getAllByTestId('node').map(({ dataset }) => dataset.state)).toEqual(['running', 'silent'])
    expect(screen.getByText('1 user, 2 sockets · 0.2.0 · http://one')).toBeTruthy()
    expect(screen.getByTestId('observer-state').textContent).toContain('two-def')
  })

  test('lists no nodes where there is one only', async () => {
    answers = () => answer()
    await show()
    expect(screen.queryByText('Nodes')).toBeNull()
  })

  test('asks for nothing while nobody looks', async () => {
    answers = () => answer()
    const actors = await show()
    vi.spyOn(document, 'hidden', 'get').mockReturnValue(true)
    await act(() => vi.advanceTimersByTimeAsync(2000))
    const asked = actors.mock.calls.length
    await act(() => vi.advanceTimersByTimeAsync(10_000))
    expect(actors.mock.calls.length).toBe(asked)
    vi.spyOn(document, 'hidden', 'get').mockReturnValue(false)
    document.dispatchEvent(new Event('visibilitychange'))
    await act(() => vi.advanceTimersByTimeAsync(10))
    expect(actors.mock.calls.length).toBe(asked + 1)
  })

  test('names people, those in the tree, those of the tenant, and those who were not notified', async () => {
    answers = () => answer({ users: { total: 1, sockets: 1, tenant: { total: 1 }, rows: [user(4, { name: 'Nok' })], leftOut: 0 } })
    server.people = [person(4, 'Nok', { role: 'manager' }), person(5, 'Nora', { active: false })]
    server.suppressions = [{ id: 1, userId: 4, userName: 'Nok', eventId: 'e', type: 'comment_added', reason: 'daily_limit', createdAt: '2026-01-27T10:30:00Z' }]
    await show()
    expect(screen.getByTestId('user-node').textContent).toContain('Nok')
    expect(screen.getAllByTestId('person').map(({ textContent }) => textContent)).toEqual([
      expect.stringContaining('Manager'),
      expect.stringContaining('User, deactivated'),
    ])
    fireEvent.change(screen.getByRole('combobox'), { target: { value: 'nok' } })
    await act(() => vi.advanceTimersByTimeAsync(200))
    fireEvent.keyDown(screen.getByRole('combobox'), { key: 'Enter' })
    await act(() => vi.advanceTimersByTimeAsync(10))
    expect(server.requests).toContain('GET /api/admin/suppressions?userId=4&limit=10')
    expect(screen.getByTestId('suppression').textContent).toMatch(/Nok.*comment added: the daily limit was reached/)
  })

  test('deactivates after a question, and says why not', async () => {
    server.people = [person(4, 'Nok')]
    await show()
    fireEvent.click(screen.getByRole('button', { name: 'Deactivate Nok' }))
    const question = screen.getByRole('dialog', { name: 'Deactivate Nok?' })
    server.intercept = () => ({ status: 403, body: { error: { code: 'forbidden', message: 'nobody deactivates themselves: ask another admin' } } })
    fireEvent.click(within(question).getByRole('button', { name: 'Deactivate' }))
    await act(() => vi.advanceTimersByTimeAsync(0))
    expect(within(question).getByRole('alert').textContent).toBe('Nobody deactivates themselves: ask another admin.')
    server.intercept = () => ({ body: { userId: 4, active: false } })
    fireEvent.click(within(question).getByRole('button', { name: 'Deactivate' }))
    await act(() => vi.advanceTimersByTimeAsync(0))
    expect(server.requests).toContain('POST /api/users/4/deactivate')
    expect(screen.getByTestId('person').dataset.active).toBe('false')
    expect(screen.getByRole('button', { name: 'Activate Nok' })).toBeTruthy()
  })
})
