import { act, fireEvent, render, screen, within } from '@testing-library/react'
import { beforeEach, expect, test } from 'vitest'

import { DjactorsProvider, NotificationBell, NotificationToasts, TopBar } from '#modules/index.js'
import { createDjactors } from '#modules/shared/services/client.js'
import { jsx, jsxs } from '../packages/react/scripts/jsx-runtime.js'
import { createServer, settle, tokenOf } from './fakes.js'

let server

async function show(children) {
  const create = (options) => createDjactors({ ...options, io: server.io, fetch: server.fetch })
  render(<DjactorsProvider url="http://server" token={tokenOf()} create={create}>{children}</DjactorsProvider>)
  await act(settle)
  act(() => server.welcome())
}

beforeEach(() => {
  server = createServer()
})

test('elements get the prefix on each class name, and dj where they have none', () => {
  expect(jsx('p', {}).props.className).toBe('dj')
  expect(jsx('p', { className: 'flex  hover:bg-sunken min-h-9! ' }).props.className).toBe('dj dj:flex dj:hover:bg-sunken dj:min-h-9!')
  expect(jsxs('p', { className: '', children: [] }).props.className).toBe('dj')
})

test('components, and so what a host gives, keep their class names', () => {
  const Logo = ({ className }) => className
  expect(jsx(Logo, { className: 'acme' }).props).toEqual({ className: 'acme' })
})

const bell = () => screen.getByRole('button', { name: /^Notifications,/ })

test('the bell keeps by itself whether the inbox is open', async () => {
  await show(<NotificationBell />)
  fireEvent.click(bell())
  fireEvent.click(within(screen.getByRole('dialog', { name: 'Notifications' })).getByRole('button', { name: 'Close' }))
  expect(screen.queryByRole('dialog')).toBe(null)
})

test('what did not fit among the toasts opens the inbox of the bell', async () => {
  await show(<><NotificationBell /><NotificationToasts /></>)
  for (let id = 1; id <= 6; id += 1) act(() => server.arrive({ id }))
  fireEvent.click(screen.getByRole('button', { name: '2 more in the inbox' }))
  expect(screen.getByRole('dialog', { name: 'Notifications' })).toBeTruthy()
})

test('a host may keep by itself whether the inbox is open', async () => {
  const asked = []
  await show(<NotificationBell open={false} onOpenChange={(open) => asked.push(open)} />)
  fireEvent.click(bell())
  expect(asked).toEqual([true])
  expect(screen.queryByRole('dialog')).toBe(null)
})

test('the bar has the brand of its host', async () => {
  await show(<TopBar brand={<b>Acme</b>} />)
  expect(screen.getByText('Acme')).toBeTruthy()
  expect(screen.queryByText('djactors')).toBe(null)
})
