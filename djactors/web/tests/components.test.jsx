import { act, fireEvent, render, screen, within } from '@testing-library/react'
import { useState } from 'react'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'

import { Announcer, ConnectionState, DjactorsProvider, MyQueue, NotificationBadge, NotificationPanel, NotificationToasts, useNotifications, useSocket } from '#modules/index.js'
import { splitLinks } from '#modules/shared/components/SafeText.jsx'
import { Dialog } from '#modules/shared/components/Panel.jsx'
import { relativeTime } from '#modules/shared/components/TimeText.jsx'
import { placeFor } from '#modules/shared/hooks/useToastPlace.js'
import { createDjactors } from '#modules/shared/services/client.js'
import { createServer, job, notification, tokenOf } from './fakes.js'

let server
let opened

const flush = () => act(() => vi.advanceTimersByTimeAsync(0))
const pass = (ms) => act(() => vi.advanceTimersByTimeAsync(ms))

async function show(children, { token = tokenOf(), welcome = true } = {}) {
  const create = (options) => createDjactors({ ...options, io: server.io, fetch: server.fetch })
  const view = (given) => (
    <DjactorsProvider url="http://server" token={given} create={create} onOpenJob={(id) => opened.push(id)}>
      <Announcer />
      {children}
    </DjactorsProvider>
  )
  // The same function at every render, or everything would be made anew.
  const { rerender } = render(view(token))
  await flush()
  if (welcome) act(() => server.welcome())
  return { rerender: (given) => rerender(view(given)) }
}

beforeEach(() => {
  vi.useFakeTimers()
  server = createServer()
  opened = []
})
afterEach(() => vi.useRealTimers())

describe('the badge', () => {
  test('says the whole count and shows at most 99+', async () => {
    await show(<NotificationBadge onClick={() => {}} />)
    expect(screen.getByRole('button', { name: 'Notifications, none unread' })).toBeTruthy()
    act(() => server.count(120))
    expect(screen.getByRole('button', { name: 'Notifications, 120 unread' }).textContent).toBe('99+')
  })
})

describe('toasts', () => {
  test('leave by themselves, but not while the pointer is on them', async () => {
    await show(<NotificationToasts />)
    act(() => server.arrive({ id: 1 }))
    const region = screen.getByTestId('toasts')
    fireEvent.pointerEnter(region)
    await pass(60_000)
    expect(screen.queryByTestId('toast')).not.toBeNull()
    fireEvent.pointerLeave(region)
    await pass(60_000)
    expect(screen.queryByTestId('toast')).toBeNull()
  })

  test('wait for the keyboard, too', async () => {
    await show(<NotificationToasts />)
    act(() => server.arrive({ id: 1 }))
    fireEvent.keyDown(document, { key: 'F8' })
    expect(within(screen.getByTestId('toast')).getAllByRole('button')).toContain(document.activeElement)
    await pass(60_000)
    expect(screen.queryByTestId('toast')).not.toBeNull()
    fireEvent.keyDown(document.activeElement, { key: 'Escape' })
    expect(screen.queryByTestId('toast')).toBeNull()
  })

  test('a CRITICAL one stays until it is dismissed, and is said at once', async () => {
    await show(<NotificationToasts />)
    act(() => server.arrive({ id: 1, priority: 'CRITICAL', title: 'Overdue' }))
    act(() => server.arrive({ id: 2, title: 'Assigned' }))
    expect(screen.getByTestId('announce-assertive').textContent).toContain('Overdue')
    expect(screen.getByTestId('announce-polite').textContent).toContain('Assigned')
    await pass(600_000)
    expect(screen.getAllByTestId('toast').map((toast) => toast.dataset.notificationId)).toEqual(['1'])
    fireEvent.click(screen.getByRole('button', { name: 'Dismiss: Overdue' }))
    expect(screen.queryByTestId('toast')).toBeNull()
  })

  test('lead to the job and read the notification', async () => {
    await show(<NotificationToasts />)
    act(() => server.arrive({ id: 1, data: { jobId: 7, djId: 'DJ-7' } }))
    fireEvent.click(screen.getByRole('button', { name: 'Open job' }))
    await flush()
    expect(opened).toEqual([7])
    expect(server.socket.emitted).toEqual([['notification:read', { notificationId: 1 }]])
  })
})

describe('c6: toasts never cover what is being done', () => {
  test('they wait while a panel is open, and stay their time afterwards', async () => {
    const { rerender } = await show(<NotificationToasts />)
    const { unmount } = render(<Dialog title="New job" onClose={() => {}}>form</Dialog>)
    act(() => server.arrive({ id: 1 }))
    await pass(60_000)
    expect(screen.queryByTestId('toast')).toBeNull()
    unmount()
    rerender(tokenOf())
    expect(screen.getByTestId('toast')).toBeTruthy()
    await pass(60_000)
    expect(screen.queryByTestId('toast')).toBeNull()
  })

  test('what the open inbox shows has none, except CRITICAL ones once it is closed', async () => {
    function Page() {
      const [open, setOpen] = useState(false)
      return (
        <>
          <button onClick={() => setOpen(!open)}>inbox</button>
          {open && <NotificationPanel onClose={() => {}} />}
          <NotificationToasts />
        </>
      )
    }
    await show(<Page />)
    act(() => server.arrive({ id: 1 }))
    const button = screen.getByRole('button', { name: 'inbox' })
    fireEvent.click(button)
    act(() => server.arrive({ id: 2 }))
    act(() => server.arrive({ id: 3, priority: 'CRITICAL' }))
    expect(screen.getAllByTestId('notification').length).toBe(3)
    expect(screen.queryByTestId('toast')).toBeNull()
    fireEvent.click(button)
    expect(screen.getAllByTestId('toast').map((toast) => toast.dataset.notificationId)).toEqual(['3'])
  })

  const phone = { width: 336, height: 130, left: 12, windowHeight: 740 }
  const at = (top, bottom, left = 0, right = 360) => ({ top, bottom, left, right })
  test.each([
    ['nothing', null, 'bottom'],
    ['something above', at(80, 200), 'bottom'],
    ['something at the bottom', at(600, 700), 'top'],
    ['something as high as the window', at(0, 740), 'wait'],
    ['something beside', at(600, 700, 0, 10), 'bottom'],
  ])('with %s to do', (_, work, place) => expect(placeFor({ ...phone, work })).toBe(place))
})

test('the queue is as it was left when a person comes back from a job', async () => {
  function Page() {
    const [away, setAway] = useState(false)
    return <><button onClick={() => setAway(!away)}>go</button>{!away && <MyQueue />}</>
  }
  await show(<Page />)
  fireEvent.click(screen.getByRole('radio', { name: 'All jobs' }))
  const go = screen.getByRole('button', { name: 'go' })
  fireEvent.click(go)
  fireEvent.click(go)
  expect(screen.getByRole('radio', { name: 'All jobs' }).checked).toBe(true)
})

describe('links', () => {
  const view = (href) => (
    <DjactorsProvider url="http://server" token={tokenOf()} onOpenJob={(id) => opened.push(id)} jobHref={href}
      create={(options) => createDjactors({ ...options, io: server.io, fetch: server.fetch })}>
      <MyQueue />
    </DjactorsProvider>
  )

  test('c4: a job is one where the host says its address: a plain click is the page’s, others the browser’s', async () => {
    server.jobs = [job(5)]
    render(view((id) => `/jobs/${id}`))
    await flush()
    const link = screen.getByRole('link', { name: 'Job 5' })
    expect(link.getAttribute('href')).toBe('/jobs/5')
    expect(fireEvent.click(link)).toBe(false)
    expect(opened).toEqual([5])
    link.addEventListener('click', (event) => event.preventDefault(), { once: true })
    fireEvent.click(link, { ctrlKey: true })
    expect(opened).toEqual([5])
  })
})

describe('the connection state', () => {
  test('does not say Live before the first connection stands', async () => {
    await show(<ConnectionState />, { welcome: false })
    const state = screen.getByTestId('connection-state')
    expect(state.textContent).toBe('Connecting…')
    act(() => server.welcome())
    expect(state.textContent).toBe('Live')
  })

  test('says nothing of a short break', async () => {
    await show(<ConnectionState />)
    act(() => server.drop())
    const state = screen.getByTestId('connection-state')
    expect(state.textContent).toBe('Live')
    await pass(60_000)
    expect(state.textContent).toBe('Reconnecting…')
  })
})

describe('the inbox', () => {
  test('shows hostile text as text, and makes only web addresses clickable', async () => {
    const title = '<img src=x onerror=alert(1)><script>alert(2)</script>'
    server.items = [notification(1, { title, message: 'javascript:alert(3) https://example.com/a. data:text/html,x' })]
    await show(<NotificationPanel onClose={() => {}} />)
    const item = screen.getByTestId('notification')
    expect(item.textContent).toContain(title)
    expect(item.querySelector('img, script')).toBeNull()
    expect([...item.querySelectorAll('a')].map((link) => link.href)).toEqual(['https://example.com/a'])
  })

  test('a deleted one goes at once and is back when the server refuses', async () => {
    server.items = [notification(1, { title: 'One' })]
    await show(<NotificationPanel onClose={() => {}} />)
    let refuse
    server.answer.mockReturnValueOnce(new Promise((resolve) => (refuse = resolve)))
    fireEvent.click(screen.getByRole('button', { name: 'More: One' }))
    fireEvent.click(screen.getByRole('menuitem', { name: 'Delete' }))
    expect(screen.queryByTestId('notification')).toBeNull()
    refuse({ ok: false, error: { code: 'unavailable', message: 'Busy.' } })
    await flush()
    expect(screen.queryByTestId('notification')).not.toBeNull()
  })

  test('closes with Escape', async () => {
    const close = vi.fn()
    await show(<NotificationPanel onClose={close} />)
    fireEvent.keyDown(document, { key: 'Escape' })
    expect(close).toHaveBeenCalledOnce()
  })
})

describe('the hooks', () => {
  function Probe() {
    const { status } = useSocket()
    const { notifications, unreadCount, markRead } = useNotifications()
    return (
      <button onClick={() => void markRead(notifications[0].id)}>
        {status}, {unreadCount} of {notifications.length}
      </button>
    )
  }

  test('follow the connection and the inbox', async () => {
    server.items = [notification(1), notification(2)]
    await show(<Probe />)
    expect(screen.getByRole('button').textContent).toBe('connected, 2 of 2')
    fireEvent.click(screen.getByRole('button'))
    expect(screen.getByRole('button').textContent).toBe('connected, 1 of 2')
    act(() => server.drop())
    expect(screen.getByRole('button').textContent).toContain('reconnecting')
  })

  test('need a provider', () => {
    vi.spyOn(console, 'error').mockImplementation(() => {})
    expect(() => render(<Probe />)).toThrow('<DjactorsProvider>')
  })
})

describe('texts', () => {
  test.each([
    ['see https://a.example/x?y=1.', ['see ', 'https://a.example/x?y=1', '.']],
    ['(http://a.example)', ['(', 'http://a.example', ')']],
    ['javascript:alert(1)', ['javascript:alert(1)']],
    ['https://', ['https://']],
    ['', []],
  ])('%j is split into links and the rest', (text, parts) => {
    expect(splitLinks(text).map((part) => part.text ?? part)).toEqual(parts)
  })

  test.each([
    [0, 'just now'],
    [-59, 'just now'],
    [-60, '1 minute ago'],
    [-7200, '2 hours ago'],
    [30, 'in less than a minute'],
    [86_400, 'tomorrow'],
  ])('%i seconds from now is %j', (seconds, words) => {
    expect(relativeTime(1_000_000_000 + seconds * 1000, 1_000_000_000)).toBe(words)
  })
})
