import { afterEach, beforeEach, describe, expect, test } from 'vitest'

import { createDjactors } from '#modules/shared/services/client.js'
import { pageOf, visible } from '#modules/shared/stores/inboxPages.js'
import { MAX_TOASTS } from '#modules/shared/stores/toasts.js'
import { createServer, deferred, notification, settle, tokenOf } from './fakes.js'

let server
let client
let inbox
let actions

const state = () => inbox.getState()
const ids = () => visible(state()).map(({ id }) => id)
const toastIds = () => state().toasts.map(({ id }) => id)
const shown = (id) => state().items.find((item) => item.id === id)

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

describe('the count', () => {
  test('is the list’s, then the last that was heard', async () => {
    await begin()
    expect(state().unreadCount).toBe(2)
    server.count(7)
    expect(state().unreadCount).toBe(7)
  })

  test('that was heard late does not undo a newer list’s', async () => {
    await begin()
    server.seq = 30
    await actions.load()
    server.count(9, server.offset(20))
    expect(state().unreadCount).toBe(2)
  })
})

describe('the count of an ack', () => {
  // With long polling, the stock client hears all packets of an answer before whoever awaits an ack among them goes on.
  test('does not undo one that came behind it', async () => {
    await begin()
    const held = deferred()
    server.answer.mockReturnValueOnce(held.promise)
    const done = actions.markRead(2)
    held.promise.then(() => {
      server.arrive({ id: 4 })
      server.count(2)
    })
    held.resolve({ ok: true, count: 1, unseen: 1 })
    await done
    expect(state().unreadCount).toBe(2)
  })

  test('is taken where nothing came behind it', async () => {
    await begin()
    server.answer.mockResolvedValueOnce({ ok: true, count: 5, unseen: 5 })
    await actions.markRead(2)
    expect(state().unreadCount).toBe(5)
  })
})

describe('reading', () => {
  test('shows at once and stands when the server takes it', async () => {
    await begin()
    const held = deferred()
    server.answer.mockReturnValueOnce(held.promise)
    const done = actions.markRead(2)
    expect(shown(2).isRead).toBe(true)
    expect(state().unreadCount).toBe(1)
    held.resolve({ ok: true, count: 1 })
    expect(await done).toBe(true)
    expect(state().unreadCount).toBe(1)
    expect(server.socket.emitted).toEqual([['notification:read', { notificationId: 2 }]])
  })

  test('rolls back, and says so, when the server refuses', async () => {
    await begin()
    server.answer.mockResolvedValueOnce({ ok: false, error: { code: 'unavailable', message: 'Busy.' } })
    expect(await actions.markRead(2)).toBe(false)
    expect(shown(2).isRead).toBe(false)
    expect(state().unreadCount).toBe(2)
    expect(state().notice.text).toContain('Busy.')
  })

  test('is not counted twice when another tab was first', async () => {
    await begin()
    const held = deferred()
    server.answer.mockReturnValueOnce(held.promise)
    const done = actions.markRead(2)
    server.send('notification:read', { notificationIds: [2], readAt: '2026-01-27T11:00:00Z' })
    server.count(1)
    expect(state().unreadCount).toBe(1)
    held.resolve({ ok: true, count: 1 })
    await done
    expect(state().unreadCount).toBe(1)
  })

  test('goes over HTTP while there is no connection', async () => {
    await begin()
    server.drop()
    expect(await actions.markRead(2)).toBe(true)
    expect(server.requests).toContain('POST /api/notifications/2/read')
  })

  test('all of them leaves what arrives meanwhile unread', async () => {
    await begin()
    const held = deferred()
    server.answer.mockReturnValueOnce(held.promise)
    const done = actions.markAllRead()
    expect(state().unreadCount).toBe(0)
    server.arrive({ id: 4 })
    expect(state().unreadCount).toBe(1)
    expect(shown(4).isRead).toBe(false)
    held.resolve({ ok: true, count: 1 })
    await done
    expect([1, 2, 3, 4].map((id) => shown(id).isRead)).toEqual([true, true, true, false])
  })

  test('all of them rolls back', async () => {
    await begin()
    server.answer.mockRejectedValueOnce(new Error('timeout'))
    expect(await actions.markAllRead()).toBe(false)
    expect(state().unreadCount).toBe(2)
    expect(shown(1).isRead).toBe(false)
  })
})

describe('deleting', () => {
  test('takes it out at once, and brings it back in its place when the server refuses', async () => {
    await begin()
    const held = deferred()
    server.answer.mockReturnValueOnce(held.promise)
    const done = actions.remove(2)
    expect(ids()).toEqual([3, 1])
    expect(state().unreadCount).toBe(1)
    held.resolve({ ok: false, error: { code: 'unavailable', message: 'Busy.' } })
    expect(await done).toBe(false)
    expect(ids()).toEqual([3, 2, 1])
    expect(state().unreadCount).toBe(2)
  })

  test('of what another tab has deleted is no error', async () => {
    await begin()
    server.answer.mockResolvedValueOnce({ ok: false, error: { code: 'not_found', message: 'no such thing' } })
    expect(await actions.remove(2)).toBe(true)
    expect(ids()).toEqual([3, 1])
    expect(state().notice).toBeNull()
  })
})

describe('each change is applied once', () => {
  test('what a list holds already is dropped when it is heard', async () => {
    await begin()
    server.seq = 20
    server.items.push(notification(4, { isRead: true }))
    await actions.load()
    server.send('notification:new', notification(4), server.offset(15))
    expect(shown(4).isRead).toBe(true)
    expect(toastIds()).toEqual([])
  })

  test('what came and went before a list was read does not come back when it is heard late', async () => {
    await begin()
    server.seq = 20
    await actions.load()
    server.send('notification:new', notification(4), server.offset(15))
    expect(ids()).toEqual([3, 2, 1])
    expect(toastIds()).toEqual([])
  })

  test('what was deleted does not come back by a replay', async () => {
    await begin()
    server.arrive({ id: 4 })
    const at = server.offset()
    server.send('notification:deleted', { notificationIds: [4] })
    server.send('notification:new', notification(4), at)
    expect(ids()).toEqual([3, 2, 1])
  })

  test('what happens while a list is on its way is applied on top of it', async () => {
    await begin()
    const held = deferred()
    server.intercept = () => held.promise
    const loading = actions.load()
    await settle()
    server.arrive({ id: 4 })
    server.send('notification:read', { notificationIds: [1], readAt: '2026-01-27T11:00:00Z' })
    server.send('notification:deleted', { notificationIds: [2] })
    held.resolve(undefined)
    await loading
    expect(ids()).toEqual([4, 3, 1])
    expect(shown(1).isRead).toBe(true)
  })

  test('a second event of one number, of another past, makes the list load anew', async () => {
    await begin()
    server.arrive({ id: 4 })
    server.past = 'b'
    server.items = [notification(1)]
    server.send('notification:new', notification(9), server.offset())
    await settle()
    expect(ids()).toEqual([1])
  })
})

describe('after a reset', () => {
  test('the list is loaded anew, and numbers below the old ones count again', async () => {
    await begin()
    server.items = [notification(8)]
    server.past = 'b'
    server.seq = 2
    server.send('changes:reset', { offset: server.offset() }, server.offset())
    await settle()
    expect(ids()).toEqual([8])
    expect(state().unreadCount).toBe(1)
    server.arrive({ id: 9 })
    expect(ids()).toEqual([9, 8])
  })

  test('an answer from before it is thrown away', async () => {
    await begin()
    const held = deferred()
    server.intercept = () => held.promise
    const loading = actions.load()
    await settle()
    server.intercept = () => undefined
    server.items = [notification(8)]
    server.seq += 1
    server.send('changes:reset', { offset: server.offset() }, server.offset())
    held.resolve(undefined)
    await loading
    await settle()
    expect(ids()).toEqual([8])
  })
})

describe('toasts', () => {
  test('are for what arrives live, not for what is replayed', async () => {
    server.items = [notification(1)]
    client.start()
    await settle()
    server.accept()
    server.arrive({ id: 2 }) // its count is the first: it closes the replay
    server.arrive({ id: 3 })
    expect(ids()).toEqual([3, 2, 1])
    expect(toastIds()).toEqual([3])
  })

  test('a recovered connection replays without them and then goes on', async () => {
    await begin()
    server.drop()
    server.accept({ recovered: true })
    server.items.push(notification(4))
    server.send('notification:new', notification(4))
    server.count()
    expect(toastIds()).toEqual([])
    expect(state().unreadCount).toBe(3)
    server.arrive({ id: 5 })
    expect(toastIds()).toEqual([5])
  })

  test('what replaces another takes over its toast and its place, and makes no second one', async () => {
    await begin()
    server.arrive({ id: 4, type: 'daily_summary', title: '1 more update today' })
    server.arrive({ id: 5, type: 'daily_summary', title: '2 more updates today', replaces: 4 })
    expect(ids()).toEqual([5, 3, 2, 1])
    expect(state().toasts.map(({ title }) => title)).toEqual(['2 more updates today'])
    actions.dismissToast(5)
    server.arrive({ id: 6, type: 'daily_summary', title: '3 more updates today', replaces: 5 })
    expect(toastIds()).toEqual([])
  })

  test('are bounded; CRITICAL ones outlast the others', async () => {
    await begin()
    server.arrive({ id: 10, priority: 'CRITICAL' })
    for (let id = 11; id <= 15; id += 1) server.arrive({ id })
    expect(toastIds()).toEqual([10, 13, 14, 15])
    expect(toastIds().length).toBe(MAX_TOASTS)
    expect(state().hiddenToasts).toBe(2)
  })

  test('leave when the notification is read or deleted elsewhere', async () => {
    await begin()
    server.arrive({ id: 4 })
    server.arrive({ id: 5 })
    server.send('notification:read', { notificationIds: [4], readAt: '2026-01-27T11:00:00Z' })
    server.send('notification:deleted', { notificationIds: [5] })
    expect(toastIds()).toEqual([])
  })
})

describe('pages', () => {
  const many = (count) => Array.from({ length: count }, (_, place) => notification(place + 1, { isRead: place % 2 === 0 }))

  test('go down by `before`, without holes or doubles', async () => {
    await begin(many(50))
    expect(ids().length).toBe(20)
    await actions.loadMore()
    await actions.loadMore()
    expect(ids()).toEqual(many(50).map(({ id }) => id).reverse())
    expect(pageOf(state(), state().filter).nextBefore).toBeNull()
  })

  test('the unread filter pages its own way, and neither tears holes into the other', async () => {
    await begin(many(60))
    actions.setFilter({ unread: true })
    await settle()
    expect(ids().every((id) => id % 2 === 0)).toBe(true)
    expect(ids().length).toBe(20)
    actions.setFilter({ unread: false })
    expect(ids().length).toBe(20)
    expect(ids()[0] - ids().at(-1)).toBe(19)
  })

  test('one that fails can be asked for again', async () => {
    await begin(many(30))
    server.intercept = () => ({ status: 503, body: { error: { code: 'unavailable', message: 'Busy.' } } })
    await actions.loadMore()
    expect(pageOf(state(), state().filter).more).toBe('error')
    server.intercept = () => undefined
    await actions.loadMore()
    expect(ids().length).toBe(30)
  })
})
