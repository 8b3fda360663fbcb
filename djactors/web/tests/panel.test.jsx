import { act, fireEvent, render, screen, within } from '@testing-library/react'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'

import { Announcer, DjactorsProvider, JobNotifications, Notice, NotificationBadge, NotificationPanel } from '#modules/index.js'
import { createDjactors } from '#modules/shared/services/client.js'
import { createServer, notification, tokenOf } from './fakes.js'

let server

const flush = () => act(() => vi.advanceTimersByTimeAsync(0))
const pass = (ms) => act(() => vi.advanceTimersByTimeAsync(ms))

async function show(children, items = []) {
  server.items = items
  const create = (options) => createDjactors({ ...options, io: server.io, fetch: server.fetch })
  render(<DjactorsProvider url="http://server" token={tokenOf()} create={create}><Announcer />{children}</DjactorsProvider>)
  await flush()
  act(() => server.welcome())
  await flush()
}
const panel = (items) => show(<NotificationPanel onClose={() => {}} />, items)
const shownIds = () => screen.queryAllByTestId('notification').map((item) => Number(item.dataset.notificationId))
const lists = () => server.requests.filter((request) => request.startsWith('GET /api/notifications'))
const emitted = () => server.socket.emitted.filter(([name]) => name !== 'notification:seen')
const button = (name) => screen.getByRole('button', { name })

beforeEach(() => {
  vi.useFakeTimers()
  server = createServer()
})
afterEach(() => vi.useRealTimers())

describe('the badge', () => {
  test('counts what is unread, or what is new, as its host says', async () => {
    server.unseen = 1
    await show(<><NotificationBadge onClick={() => {}} /><NotificationBadge onClick={() => {}} badge="unseen" /></>, [notification(1), notification(2)])
    expect(button('Notifications, 2 unread').dataset.count).toBe('2')
    expect(button('Notifications, 1 new').dataset.count).toBe('1')
  })
})

describe('the search', () => {
  test('waits until nobody types, and asks once', async () => {
    await panel([notification(1, { title: 'apple' }), notification(2, { title: 'pear' })])
    const before = lists().length
    const field = screen.getByRole('textbox', { name: 'Search notifications' })
    for (const text of ['a', 'ap', 'app']) {
      fireEvent.change(field, { target: { value: text } })
      await pass(100)
    }
    expect(lists().length).toBe(before)
    await pass(250)
    expect(lists().slice(before)).toEqual(['GET /api/notifications?view=inbox&query=app&limit=20'])
    expect(shownIds()).toEqual([1])
    expect(screen.getByText('1 found')).toBeTruthy()
    fireEvent.keyDown(field, { key: 'Escape' })
    expect(field.value).toBe('')
    expect(shownIds()).toEqual([2, 1])
  })

  test('says that nothing was found, and leads back to everything', async () => {
    await panel([notification(1, { title: 'apple' })])
    fireEvent.change(screen.getByRole('textbox', { name: 'Search notifications' }), { target: { value: 'plum' } })
    await pass(300)
    expect(screen.getAllByText('Nothing found').length).toBe(2) // to see, and to hear
    fireEvent.click(button('Show everything'))
    expect(screen.getByRole('textbox', { name: 'Search notifications' }).value).toBe('')
    expect(shownIds()).toEqual([1])
  })
})

describe('a type that the page does not know', () => {
  test.each(['deadline_moved', 'constructor'])('is shown and chosen by its own name: %s', async (type) => {
    await panel([notification(1, { type }), notification(2)])
    expect(shownIds()).toEqual([2, 1])
    fireEvent.click(button('Filter'))
    const choice = screen.getByLabelText('Type')
    const name = { deadline_moved: 'Deadline moved', constructor: 'Constructor' }[type]
    expect(within(choice).getByRole('option', { name }).value).toBe(type)
    fireEvent.change(choice, { target: { value: type } })
    await flush()
    expect(lists().at(-1)).toContain(`type=${type}`)
    act(() => server.arrive({ id: 3, type, title: 'Live' }))
    expect(screen.getByText('Live')).toBeDefined()
  })
})

describe('an item', () => {
  test('is archived with a word that can be undone', async () => {
    await panel([notification(1, { title: 'One' })])
    fireEvent.click(button('Archive: One'))
    await flush()
    expect(shownIds()).toEqual([])
    expect(screen.getByTestId('announce-polite').textContent).toContain('Archived.')
    fireEvent.click(button('Undo'))
    await flush()
    expect(shownIds()).toEqual([1])
    expect(emitted().map(([name]) => name)).toEqual(['notification:archive', 'notification:unarchive'])
  })

  test.each([
    ['u', 'notification:read'],
    ['e', 'notification:archive'],
    ['Delete', 'notification:delete'],
  ])('hears the key %s while the focus is in it', async (key, name) => {
    await panel([notification(1, { title: 'One' })])
    fireEvent.keyDown(screen.getByTestId('notification').querySelector('[data-main]'), { key })
    await flush()
    expect(emitted().map(([each]) => each)).toEqual([name])
  })

  test('offers moments before it expires, and what is chosen is sent', async () => {
    const now = new Date(2026, 0, 28, 10, 20)
    vi.setSystemTime(now)
    await panel([notification(1, { title: 'One', createdAt: now.toISOString() })])
    fireEvent.click(button('Snooze: One'))
    const menu = screen.getByRole('menu', { name: 'Snooze: One' })
    expect(within(menu).getAllByRole('menuitem').length).toBe(5)
    expect(document.activeElement.textContent).toContain('In an hour')
    fireEvent.keyDown(document.activeElement, { key: 'ArrowDown' })
    fireEvent.keyDown(document.activeElement, { key: 't' }) // to the first that begins with it after this one
    expect(document.activeElement.textContent).toContain('Tomorrow morning')
    fireEvent.click(document.activeElement)
    await flush()
    expect(emitted()).toEqual([['notification:snooze', { notificationId: 1, until: new Date(2026, 0, 29, 9).toISOString() }]])
    expect(screen.getByTestId('notice').textContent).toContain('Snoozed until tomorrow, ')
  })

  test('does not take a moment that is past', async () => {
    await panel([notification(1, { title: 'One', createdAt: new Date().toISOString() })])
    fireEvent.click(button('Snooze: One'))
    fireEvent.click(screen.getByRole('menuitem', { name: 'Choose a moment…' }))
    const dialog = screen.getByTestId('snooze-dialog')
    const field = within(dialog).getByLabelText('Moment')
    fireEvent.change(field, { target: { value: '2020-01-01T10:00' } })
    fireEvent.submit(field.form)
    await flush()
    expect(within(dialog).getByRole('alert').textContent).toContain('That moment is past')
    expect(emitted()).toEqual([])
  })

  test('can be the way to its job’s others', async () => {
    await panel([notification(1, { title: 'One' }), notification(2, { data: { jobId: 6, djId: 'DJ-6' } })])
    fireEvent.click(button('More: One'))
    await flush()
    fireEvent.click(screen.getByRole('menuitem', { name: 'Only of this job' }))
    await flush()
    expect(shownIds()).toEqual([1])
    fireEvent.click(button('Not only this job'))
    expect(shownIds()).toEqual([2, 1])
  })
})

test('a list that cannot be loaded is asked for again by a button', async () => {
  server.intercept = (_, path) => (path === '/api/notifications' ? { status: 503, body: { error: { code: 'unavailable', message: 'Busy.' } } } : undefined)
  await panel([notification(1)])
  expect(screen.getByText('Your notifications could not be loaded.')).toBeTruthy()
  server.intercept = () => undefined
  fireEvent.click(button('Try again'))
  await flush()
  expect(shownIds()).toEqual([1])
})

test('the notice stands in the open list, and in the page otherwise, and leaves by itself', async () => {
  await show(<><Notice /><JobNotifications jobId={5} /></>)
  fireEvent.click(button('Mute'))
  await flush()
  expect(within(screen.getByRole('region', { name: 'What was done' })).getByTestId('notice').textContent).toContain('Muted')
  await pass(60_000)
  expect(screen.queryByTestId('notice')).toBeNull()
})

test('a job’s page reads what the inbox has of the job, and mutes it', async () => {
  server.muted.add(5)
  await show(<><NotificationBadge onClick={() => {}} /><JobNotifications jobId={5} /></>, [notification(1)])
  expect(server.requests).toContain('POST /api/jobs/5/read-notifications')
  expect(button('Muted').getAttribute('aria-pressed')).toBe('true')
  fireEvent.click(button('Muted'))
  expect(button('Mute').getAttribute('aria-pressed')).toBe('false')
  await flush()
  expect(emitted()).toEqual([['job:unmute', { jobId: 5 }]])
})
