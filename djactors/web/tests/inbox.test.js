import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'

import { momentsFor, momentText } from '#modules/features/inbox/moments.js'
import { createDjactors } from '#modules/shared/services/client.js'
import { applyEvent, EVERYTHING } from '#modules/shared/stores/inboxEvents.js'
import { pageOf, visible } from '#modules/shared/stores/inboxPages.js'
import { createServer, deferred, notification, settle, tokenOf } from './fakes.js'

let server
let client
let inbox
let actions

const state = () => inbox.getState()
const ids = () => visible(state()).map(({ id }) => id)
const shown = (id) => state().items.find((item) => item.id === id)
const page = () => pageOf(state(), state().filter)
const UNTIL = '2026-03-01T09:00:00.000Z'
const refusal = { ok: false, error: { code: 'unavailable', message: 'Busy.' } }

async function begin(items = [notification(1), notification(2), notification(3, { isRead: true })]) {
  server.items = items
  client.start()
  await settle()
  server.welcome()
  await settle()
}

beforeEach(() => {
  server = createServer()
  client = createDjactors({ url: 'http://server', token: tokenOf(), io: server.io, fetch: server.fetch })
  inbox = client.notifications
  actions = inbox.actions
})
afterEach(() => client.stop())

describe('the events', () => {
  const entriesOf = (...values) => new Map(values.map((value) => [value.id, { value: { place: 'inbox', ...value }, seq: 1 }]))
  const take = (entries, seq, name, data) => applyEvent(entries, { name: `notification:${name}`, data, seq }, 0)
  const of = (entries, id) => entries.get(id)?.value

  test('put a notification where they say, and keep whether it is read', () => {
    const entries = entriesOf(notification(1), notification(2, { isRead: true, readAt: 'then' }))
    const notificationIds = [1, 2]
    take(entries, 2, 'archived', { notificationIds })
    expect([1, 2].map((id) => [of(entries, id).place, of(entries, id).isRead])).toEqual([['archived', false], ['archived', true]])
    take(entries, 3, 'snoozed', { notificationIds, until: UNTIL })
    expect(of(entries, 1)).toMatchObject({ place: 'snoozed', snoozedUntil: UNTIL })
    take(entries, 4, 'unsnoozed', { notificationIds })
    expect(of(entries, 2)).toMatchObject({ place: 'inbox', isRead: false, readAt: null })
    expect('snoozedUntil' in of(entries, 2)).toBe(false)
    take(entries, 5, 'archived', { notificationIds })
    take(entries, 6, 'unarchived', { notificationIds })
    expect(of(entries, 1)).toMatchObject({ place: 'inbox', isRead: false })
  })

  test('read and unread, wherever it is; all of them means those in the inbox', () => {
    const entries = entriesOf(notification(1), notification(2, { place: 'archived' }), notification(3, { place: 'snoozed' }))
    take(entries, 2, 'read', { all: true, readAt: 'now' })
    expect([1, 2, 3].map((id) => of(entries, id).isRead)).toEqual([true, false, false])
    take(entries, 3, 'read', { notificationIds: [2], readAt: 'now' })
    take(entries, 4, 'unread', { notificationIds: [1] })
    expect([1, 2].map((id) => of(entries, id).isRead)).toEqual([false, true])
  })

  test('change nothing where something newer is known, nor twice', () => {
    const entries = entriesOf(notification(1))
    take(entries, 5, 'archived', { notificationIds: [1] })
    take(entries, 4, 'snoozed', { notificationIds: [1], until: UNTIL })
    take(entries, 5, 'unarchived', { notificationIds: [1] })
    expect(of(entries, 1).place).toBe('archived')
  })
})

describe('what is done here', () => {
  test.each([
    ['archive', () => actions.archive(2), [3, 1], 1, ['notification:archive', { notificationId: 2 }]],
    ['snooze', () => actions.snooze(2, UNTIL), [3, 1], 1, ['notification:snooze', { notificationId: 2, until: UNTIL }]],
    ['unread', () => actions.markUnread(3), [3, 2, 1], 3, ['notification:unread', { notificationId: 3 }]],
  ])('%s shows at once, and rolls back where the server refuses', async (_, act, left, count, command) => {
    await begin()
    const held = deferred()
    server.answer.mockReturnValueOnce(held.promise)
    const done = act()
    expect(ids()).toEqual(left)
    expect(state().unreadCount).toBe(count)
    await settle()
    expect(server.socket.emitted.at(-1)).toEqual(command)
    held.resolve(refusal)
    expect(await done).toBe(false)
    expect(ids()).toEqual([3, 2, 1])
    expect(state().unreadCount).toBe(2)
    expect(state().notice).toMatchObject({ text: expect.stringContaining('Busy.'), undo: null })
  })

  test('goes over HTTP without a connection, in the order in which it was done', async () => {
    await begin()
    server.drop()
    const held = deferred()
    server.intercept = (_, path) => (path.endsWith('/archive') ? held.promise : undefined)
    const archived = actions.archive(2)
    const back = actions.unarchive(2)
    await settle()
    expect(server.requests.filter((request) => request.includes('archive'))).toEqual(['POST /api/notifications/2/archive'])
    held.resolve(undefined)
    expect(await Promise.all([archived, back])).toEqual([true, true])
    expect(server.requests.at(-1)).toBe('POST /api/notifications/2/unarchive')
    expect(ids()).toEqual([3, 2, 1])
  })

  test('does not undo what another device did after it', async () => {
    await begin()
    const held = deferred()
    server.answer.mockReturnValueOnce(held.promise)
    const done = actions.archive(2)
    server.send('notification:archived', { notificationIds: [2] })
    server.send('notification:unarchived', { notificationIds: [2] })
    held.resolve({ ok: true, count: 2, unseen: 0 })
    await done
    expect(ids()).toEqual([3, 2, 1])
  })

  test('can be undone: a snoozed one that was read is so again', async () => {
    await begin()
    await actions.snooze(3, UNTIL)
    expect(ids()).toEqual([2, 1])
    expect(actions.undo()).toBe(true)
    await settle()
    await settle()
    expect(ids()).toEqual([3, 2, 1])
    expect(shown(3).isRead).toBe(true)
    expect(server.socket.emitted.slice(-2)).toEqual([
      ['notification:unsnooze', { notificationId: 3 }],
      ['notification:read', { notificationId: 3 }],
    ])
    expect(actions.undo()).toBe(false)
  })

  test('reads all of a job, and only of it', async () => {
    await begin([notification(1), notification(2, { data: { jobId: 6 } }), notification(3)])
    const held = deferred()
    server.answer.mockReturnValueOnce(held.promise)
    const done = actions.readJob(5)
    expect([1, 2, 3].map((id) => shown(id).isRead)).toEqual([true, false, true])
    expect(state().unreadCount).toBe(1)
    held.resolve({ ok: true, count: 1, unseen: 0 })
    expect(await done).toBe(true)
    expect([1, 2, 3].map((id) => shown(id).isRead)).toEqual([true, false, true])
  })
})

describe('seen', () => {
  test('an open list sees what is there and what arrives, and says up to which', async () => {
    await begin()
    expect(state().unseenCount).toBe(2)
    server.unseen = 0
    const closed = actions.watchList()
    expect(state().unseenCount).toBe(0)
    expect(server.socket.emitted).toEqual([['notification:seen', { upTo: 3 }]])
    await settle()
    server.unseen = 1
    server.arrive({ id: 4 })
    expect(server.socket.emitted.at(-1)).toEqual(['notification:seen', { upTo: 4 }])
    await settle()
    closed()
    const before = server.socket.emitted.length
    server.arrive({ id: 5 })
    expect(state().unseenCount).toBe(1)
    expect(server.socket.emitted.length).toBe(before)
    expect(state().unreadCount).toBe(4)
  })

  test('what arrived in an open list is seen, also where the list closes before the count comes', async () => {
    await begin()
    server.unseen = 0
    const closed = actions.watchList()
    await settle()
    server.send('notification:new', notification(4))
    closed()
    server.unseen = 1
    server.answer.mockResolvedValueOnce({ ok: true, count: 3, unseen: 0 })
    server.count()
    expect(server.socket.emitted.at(-1)).toEqual(['notification:seen', { upTo: 4 }])
    await settle()
    expect(state().unseenCount).toBe(0)
    const before = server.socket.emitted.length
    server.unseen = 1
    server.arrive({ id: 5 })
    expect(state().unseenCount).toBe(1)
    expect(server.socket.emitted.length).toBe(before)
  })

  test('what arrives while an open list says what is seen is said next, also where the list has closed', async () => {
    await begin()
    const held = deferred()
    server.answer.mockReturnValueOnce(held.promise)
    const closed = actions.watchList()
    server.send('notification:new', notification(4))
    closed()
    server.unseen = 1
    server.count()
    expect(server.socket.emitted.length).toBe(1)
    held.resolve({ ok: true, count: 3, unseen: 1 })
    await settle()
    expect(server.socket.emitted.at(-1)).toEqual(['notification:seen', { upTo: 4 }])
  })

  test('where it cannot be said it stays unseen, and is not said again and again', async () => {
    await begin()
    server.answer.mockResolvedValueOnce(refusal)
    actions.watchList()
    await settle()
    expect(state().unseenCount).toBe(2)
    expect(server.socket.emitted.length).toBe(1)
    expect(state().notice).toBeNull()
  })

  test('on another device, the count tells', async () => {
    await begin()
    server.unseen = 0
    server.send('notification:seen', { upTo: 3, at: UNTIL })
    server.count()
    expect([state().unreadCount, state().unseenCount]).toEqual([2, 0])
  })
})

describe('the lists', () => {
  test('are each loaded when they are looked at, and follow the events', async () => {
    await begin([notification(1), notification(2, { place: 'archived' }), notification(3)])
    expect(ids()).toEqual([3, 1])
    actions.setFilter({ view: 'archived' })
    await settle()
    expect(ids()).toEqual([2])
    server.send('notification:archived', { notificationIds: [3] })
    expect(ids()).toEqual([3, 2])
    actions.setFilter({ view: 'inbox' })
    expect(ids()).toEqual([1])
  })

  /** Seconds pass when the test says so. */
  async function atOwnPace(items, act) {
    vi.useFakeTimers()
    const pass = (ms) => vi.advanceTimersByTimeAsync(ms)
    try {
      server.items = items
      client.start()
      await pass(0)
      server.welcome()
      await pass(0)
      await act(pass)
    } finally {
      vi.useRealTimers()
    }
  }

  /** Show a list whose answer, of this moment, comes when the returned promise is resolved. */
  async function showLate(view, pass) {
    const listed = deferred()
    server.intercept = () => listed.promise
    actions.setFilter({ view })
    await pass(0)
    server.intercept = () => undefined
    return listed
  }

  test('one that lacks what another device put there is loaded again, once', () =>
    atOwnPace([notification(1)], async (pass) => {
      actions.setFilter({ view: 'archived' })
      await pass(0)
      server.items.push(notification(8, { place: 'archived' }), notification(9, { place: 'archived' }))
      const before = server.requests.length
      server.send('notification:archived', { notificationIds: [8] })
      server.send('notification:archived', { notificationIds: [9] })
      expect(page().status).toBe('ready')
      await pass(5000)
      expect(ids()).toEqual([9, 8])
      expect(server.requests.length).toBe(before + 1)
    }))

  test.each([
    ['the event, the answer to the command, the list', ['tell', 'acknowledge', 'list']],
    ['the event, the list, the answer to the command', ['tell', 'list', 'acknowledge']],
    ['the answer to the command, the event, the list', ['acknowledge', 'tell', 'list']],
    ['the answer to the command, the list, the event', ['acknowledge', 'list', 'tell']],
    ['the list, the event, the answer to the command', ['list', 'tell', 'acknowledge']],
    ['the list, the answer to the command, the event', ['list', 'acknowledge', 'tell']],
  ])('one that was asked for before a snooze counted shows it: first %s', (_, order) =>
    atOwnPace([notification(1), notification(2)], async (pass) => {
      const acknowledged = deferred()
      server.answer.mockReturnValueOnce(acknowledged.promise)
      void actions.snooze(2, UNTIL)
      const listed = await showLate('snoozed', pass)
      server.items.find(({ id }) => id === 2).place = 'snoozed'
      const steps = {
        tell: () => server.send('notification:snoozed', { notificationIds: [2], until: UNTIL }),
        acknowledge: () => acknowledged.resolve({ ok: true, ...server.counts() }),
        list: () => listed.resolve(undefined),
      }
      for (const step of order) {
        steps[step]()
        await pass(0)
      }
      await pass(5000)
      expect(ids()).toEqual([2])
      expect(shown(2)).toMatchObject({ place: 'snoozed' })
    }))

  test('one that another device adds to while it loads for the first time is loaded again', () =>
    atOwnPace([notification(1)], async (pass) => {
      const listed = await showLate('archived', pass)
      server.items.push(notification(9, { place: 'archived' }))
      server.send('notification:archived', { notificationIds: [9] })
      listed.resolve(undefined)
      await pass(5000)
      expect(ids()).toEqual([9])
    }))

  test('an answer for a list that is no longer shown does not show in the one that is', async () => {
    await begin([notification(1, { title: 'apple' }), notification(2, { title: 'pear' })])
    const held = deferred()
    server.intercept = () => held.promise
    actions.setFilter({ query: 'apple' })
    await settle()
    server.intercept = () => undefined
    actions.setFilter({ query: 'pear' })
    await settle()
    expect(ids()).toEqual([2])
    held.resolve(undefined)
    await settle()
    expect(ids()).toEqual([2])
    actions.setFilter({ query: 'apple' })
    expect(ids()).toEqual([1])
  })

  test('a search follows pages with nothing in them, and then asks', async () => {
    await begin(Array.from({ length: 200 }, (_, place) => notification(place + 1, { title: place < 5 ? 'needle' : 'hay' })))
    const before = server.requests.length
    actions.setFilter({ query: 'needle' })
    await settle()
    await settle()
    expect(ids()).toEqual([])
    expect(page()).toMatchObject({ status: 'ready', more: 'idle', nextBefore: 101 })
    expect(server.requests.length).toBe(before + 5)
    await actions.loadMore()
    expect(ids()).toEqual([5, 4, 3, 2, 1])
    expect(page().nextBefore).toBeNull()
  })

  test('filters ask the server, and hold for what arrives', async () => {
    await begin([notification(1), notification(2, { priority: 'LOW' }), notification(3, { data: { jobId: 6 } })])
    actions.setFilter({ priority: 'HIGH', job: 5 })
    await settle()
    expect(server.requests.at(-1)).toBe('GET /api/notifications?view=inbox&priority=HIGH&job=5&limit=20')
    expect(ids()).toEqual([1])
    server.arrive({ id: 4 })
    server.arrive({ id: 5, priority: 'LOW' })
    expect(ids()).toEqual([4, 1])
  })

  test('after a reset only what is shown is loaded, the others when they are shown', async () => {
    await begin([notification(1), notification(2, { place: 'archived' })])
    actions.setFilter({ view: 'archived' })
    await settle()
    server.items = [notification(8), notification(9, { place: 'archived' })]
    server.past = 'b'
    server.seq = 2
    server.send('changes:reset', { offset: server.offset() }, server.offset())
    await settle()
    expect(ids()).toEqual([9])
    actions.setFilter({ view: 'inbox' })
    expect(page().status).toBe('loading')
    await settle()
    expect(ids()).toEqual([8])
  })

  test('so many are kept, and no more', async () => {
    await begin()
    for (let number = 0; number < 30; number += 1) {
      actions.setFilter({ query: `word ${number}` })
      await settle()
    }
    expect(Object.keys(state().pages).length).toBeLessThanOrEqual(12)
    actions.setFilter(EVERYTHING)
    await settle()
    expect(ids()).toEqual([3, 2, 1])
  })
})

describe('what comes back from a snooze', () => {
  const soon = () => new Date(Date.now() + 1000).toISOString()

  test('has a toast, though no list had it', async () => {
    await begin([notification(1, { place: 'snoozed', snoozedUntil: soon() })])
    expect(ids()).toEqual([])
    server.items[0].place = 'inbox'
    server.send('notification:unsnoozed', { notificationIds: [1] })
    server.count()
    await settle()
    expect(server.requests.at(-1)).toContain('unread=true&limit=1&before=2')
    expect(state().toasts.map(({ id }) => id)).toEqual([1])
    expect(state().unreadCount).toBe(1)
  })

  test('has none where somebody ended the snooze, here or elsewhere', async () => {
    await begin([notification(1), notification(2)])
    await actions.snooze(1, new Date(Date.now() + 3_600_000).toISOString())
    server.send('notification:unsnoozed', { notificationIds: [1] })
    await settle()
    expect(state().toasts).toEqual([])
    expect(ids()).toEqual([2, 1])
  })
})

describe('muted jobs', () => {
  const muted = () => client.mutes.getState().muted

  test('show at once, roll back, and follow other devices', async () => {
    await begin()
    client.mutes.actions.watch(5)
    await settle()
    expect(muted()).toEqual({ 5: false })
    server.answer.mockResolvedValueOnce(refusal)
    const done = client.mutes.actions.mute(5, true)
    expect(muted()[5]).toBe(true)
    expect(await done).toBe(false)
    expect(muted()[5]).toBe(false)
    expect(state().notice.text).toContain('Busy.')
    server.send('job:muted', { jobId: 5 })
    expect(muted()[5]).toBe(true)
    server.send('job:unmuted', { jobId: 5 }, server.offset(3))
    expect(muted()[5]).toBe(true)
    await client.mutes.actions.mute(5, false)
    expect(server.socket.emitted.at(-1)).toEqual(['job:unmute', { jobId: 5 }])
    actions.undo()
    expect(muted()[5]).toBe(true)
  })

  test('are asked for anew after a reset', async () => {
    await begin()
    client.mutes.actions.watch(5)
    server.send('job:muted', { jobId: 6 })
    await settle()
    server.muted.add(5)
    server.past = 'b'
    server.send('changes:reset', { offset: server.offset() }, server.offset())
    await settle()
    expect(muted()).toEqual({ 5: true })
  })
})

describe('the moments of a snooze', () => {
  const at = (text) => new Date(text).getTime() // in the time zone of whoever runs this
  const far = at('2027-01-01T00:00')

  test.each([
    ['a Wednesday morning', '2026-01-28T10:20', far, ['2026-01-28T11:20', '2026-01-28T18:00', '2026-01-29T09:00', '2026-02-02T09:00']],
    ['late in the evening', '2026-01-28T22:00', far, ['2026-01-28T23:00', '2026-01-29T09:00', '2026-02-02T09:00']],
    ['a Sunday, when next week is tomorrow', '2026-02-01T12:00', far, ['2026-02-01T13:00', '2026-02-01T18:00', '2026-02-02T09:00']],
    ['a Monday', '2026-02-02T08:00', far, ['2026-02-02T09:00', '2026-02-02T18:00', '2026-02-03T09:00', '2026-02-09T09:00']],
    ['just before it expires', '2026-01-28T10:20', at('2026-01-28T20:00'), ['2026-01-28T11:20', '2026-01-28T18:00']],
    ['an hour before the evening', '2026-01-28T17:00', far, ['2026-01-28T18:00', '2026-01-29T09:00', '2026-02-02T09:00']],
  ])('on %s', (_, now, expiry, expected) => {
    expect(momentsFor(at(now), expiry).map((moment) => moment.at)).toEqual(expected.map(at))
  })

  test('are said as short as they can be', () => {
    const now = at('2026-01-28T10:20')
    expect(momentText(at('2026-01-28T18:00'), now)).not.toMatch(/[a-z],/)
    expect(momentText(at('2026-01-29T09:00'), now)).toMatch(/^tomorrow, /)
    expect(momentText(at('2026-02-02T09:00'), now)).toMatch(/^Mon, /)
    expect(momentText(at('2026-02-20T09:00'), now)).toMatch(/20/)
  })
})
