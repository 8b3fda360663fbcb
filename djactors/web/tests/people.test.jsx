import { act, fireEvent, render, screen, within } from '@testing-library/react'
import { useState } from 'react'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'

import { CreateJob, DjactorsProvider, Person, PersonField } from '#modules/index.js'
import { wordsOf } from '#modules/shared/services/refusals.js'
import { createDjactors } from '#modules/shared/services/client.js'
import { createServer, deferred, person, tokenOf } from './fakes.js'

const NOK = person(4, 'Nok', { role: 'manager', connected: true })
const NORA = person(5, 'Nora', { active: false })
const NILS = person(6, 'Nils Holm')

let server
let client
let chosen

const flush = () => act(() => vi.advanceTimersByTimeAsync(0))
const pass = (ms) => act(() => vi.advanceTimersByTimeAsync(ms))

async function show(children, claims) {
  const create = (options) => {
    client = createDjactors({ ...options, io: server.io, fetch: server.fetch })
    return client
  }
  const view = (content) => <DjactorsProvider url="http://server" token={tokenOf(claims)} create={create}>{content}</DjactorsProvider>
  const { rerender } = render(view(children))
  await flush()
  act(() => server.welcome())
  await flush()
  return (content) => rerender(view(content))
}

function Choice({ optional = false }) {
  const [value, setValue] = useState(null)
  return (
    <form onSubmit={(event) => event.preventDefault()}>
      <PersonField label="Assignee" optional={optional} value={value}
        onChange={(id) => {
          chosen.push(id)
          setValue(id)
        }} />
    </form>
  )
}

const field = () => screen.getByRole('combobox', { name: 'Assignee' })
const type = (text) => fireEvent.change(field(), { target: { value: text } })
const key = (name, target = field()) => fireEvent.keyDown(target, { key: name })
const names = () => screen.queryAllByRole('option').map((option) => option.querySelector('bdi').textContent)
const active = () => document.getElementById(field().getAttribute('aria-activedescendant'))
const asked = () => server.requests.filter((each) => each.includes('/api/people?query'))

beforeEach(() => {
  vi.useFakeTimers()
  server = createServer()
  server.people = [NILS, NOK, NORA]
  chosen = []
})
afterEach(() => vi.useRealTimers())

describe('the field that searches people', () => {
  test('asks once for what was typed, and shows role and presence', async () => {
    await show(<Choice />)
    for (const text of ['n', 'no', 'nok']) type(text)
    await pass(200)
    expect(asked()).toEqual(['GET /api/people?query=nok&limit=8'])
    expect(screen.getByRole('option').textContent).toContain('Manager, online')
    expect(field().getAttribute('aria-expanded')).toBe('true')
    expect(screen.getByRole('listbox').id).toBe(field().getAttribute('aria-controls'))
  })

  test('is worked by the keyboard alone', async () => {
    await show(<Choice />)
    type('n')
    await pass(200)
    expect(names()).toEqual(['Nils Holm', 'Nok', 'Nora'])
    expect(active().textContent).toContain('Nils Holm')
    key('ArrowDown')
    expect(active().textContent).toContain('Nok')
    expect(active().getAttribute('aria-selected')).toBe('true')
    // Round, both ways.
    key('ArrowUp')
    key('ArrowUp')
    expect(active().textContent).toContain('Nora')
    key('ArrowDown')
    key('ArrowDown')
    expect(key('Enter')).toBe(false)
    expect(chosen).toEqual([4])
    expect(field().value).toBe('Nok')
    expect(screen.queryByRole('option')).toBeNull()
    // Closed, it leaves Enter to the form.
    expect(key('Enter')).toBe(true)
  })

  test('Escape closes the list and nothing else', async () => {
    await show(<Choice />)
    type('n')
    await pass(200)
    expect(key('Escape')).toBe(false)
    expect(screen.queryByRole('option')).toBeNull()
    expect(field().value).toBe('n')
    expect(key('Escape')).toBe(true)
  })

  test('somebody who was deactivated is shown and cannot be chosen', async () => {
    await show(<Choice />)
    type('nora')
    await pass(200)
    const option = screen.getByRole('option')
    expect(option.getAttribute('aria-disabled')).toBe('true')
    expect(option.textContent).toContain('deactivated')
    expect(active()).toBeNull()
    key('ArrowDown')
    key('Enter')
    fireEvent.click(option)
    expect(chosen).toEqual([])
  })

  test('an answer to what is no longer typed is not shown', async () => {
    await show(<Choice />)
    const late = deferred()
    server.intercept = () => late.promise
    type('nils')
    await pass(200)
    server.intercept = () => undefined
    type('nok')
    await pass(200)
    late.resolve({ body: { items: [NILS], nextBefore: null } })
    await flush()
    expect(names()).toEqual(['Nok'])
    // And while there is no answer, nobody of the last one can be chosen.
    type('nils')
    expect(names()).toEqual([])
    key('Enter')
    expect(chosen).toEqual([])
  })

  test('typing takes the choice back, and what was only typed does not pass for one', async () => {
    await show(<Choice optional />)
    type('nok')
    await pass(200)
    key('Enter')
    expect(field().checkValidity()).toBe(true)
    type('nokk')
    expect(chosen).toEqual([4, null])
    expect(field().checkValidity()).toBe(false)
    expect(field().validationMessage).toBe('Choose somebody from the list.')
    fireEvent.click(screen.getByRole('button', { name: 'Clear: Assignee' }))
    expect(field().checkValidity()).toBe(true)
  })

  test('says that nobody was found, that there are more, and that it failed, with a way on', async () => {
    server.people = Array.from({ length: 9 }, (_, number) => person(20 + number, `Ann ${number}`))
    await show(<Choice />)
    type('zed')
    await pass(200)
    expect(screen.getByText('Nobody has a name that begins so.')).toBeTruthy()
    expect(field().getAttribute('aria-expanded')).toBe('false')
    type('ann')
    await pass(200)
    expect(names().length).toBe(8)
    expect(screen.getByText('There are more. Type more of the name.')).toBeTruthy()
    server.intercept = (_, path) => (path === '/api/people' ? { status: 503, body: { error: { code: 'unavailable', message: 'the disk is full' } } } : undefined)
    type('ann 1')
    await pass(200)
    expect(screen.getByRole('alert').textContent).toBe('The disk is full.')
    server.intercept = () => undefined
    fireEvent.click(screen.getByRole('button', { name: 'Try again' }))
    await pass(200)
    expect(names()).toEqual(['Ann 1'])
  })
})

describe('the new job', () => {
  const choose = async (label, text) => {
    fireEvent.change(screen.getByRole('combobox', { name: label }), { target: { value: text } })
    await pass(200)
    key('Enter', screen.getByRole('combobox', { name: label }))
  }

  test('names people by ids that were chosen by name; only managers and admins name watchers', async () => {
    const made = []
    const again = await show(<CreateJob onClose={() => {}} onCreated={(job) => made.push(job)} />)
    expect(screen.queryByRole('combobox', { name: 'Watchers' })).toBeNull()
    again(null)
    await show(<CreateJob onClose={() => {}} onCreated={(job) => made.push(job)} />, { role: 'manager' })
    fireEvent.change(screen.getByRole('textbox', { name: 'Title' }), { target: { value: 'Banner' } })
    await choose('Assignee', 'nils')
    await choose('Manager', 'nok')
    await choose('Watchers', 'nok')
    await choose('Watchers', 'nils')
    fireEvent.click(screen.getByRole('button', { name: 'Remove Nils Holm' }))
    fireEvent.submit(screen.getByRole('button', { name: 'Create job' }).form)
    await flush()
    expect(made).toMatchObject([{ title: 'Banner', assigneeId: 6, managerId: 4, watcherIds: [4] }])
  })
})

describe('presence', () => {
  const said = () => screen.queryByTestId('presence')?.dataset.connected
  const watches = () => server.socket.emitted.map(([name]) => name).filter((name) => name.startsWith('people:'))

  test('is watched while somebody is shown, and follows who comes and goes', async () => {
    const again = await show(<Person id={4} name="Nok" />)
    expect(watches()).toEqual(['people:watch'])
    expect(said()).toBe('true')
    expect(screen.getByText('online')).toBeTruthy()
    act(() => server.send('people:presence', { userId: 4, connected: false }, undefined))
    expect(said()).toBe('false')
    again(null)
    await pass(10_000)
    expect(watches()).toEqual(['people:watch', 'people:unwatch'])
  })

  test('going from one view to another goes on watching', async () => {
    const again = await show(<Person key="a" id={4} name="Nok" />)
    again(<Person key="b" id={4} name="Nok" />)
    await pass(10_000)
    expect(watches()).toEqual(['people:watch'])
  })

  test('without a connection nothing is said; the next one watches and asks again', async () => {
    await show(<Person id={4} name="Nok" />)
    act(() => server.drop())
    expect(said()).toBeUndefined()
    server.people = [{ ...NOK, connected: false }]
    act(() => server.welcome())
    await flush()
    expect(said()).toBe('false')
    expect(watches().length).toBe(2)
  })

  test('an event that came while the list was under way is newer than the list', async () => {
    const late = deferred()
    server.intercept = (_, path) => (path === '/api/people' ? late.promise : undefined)
    await show(<Person id={4} name="Nok" />)
    act(() => server.send('people:presence', { userId: 4, connected: false }, undefined))
    late.resolve({ body: { items: [NOK], nextBefore: null } })
    await flush()
    expect(said()).toBe('false')
  })

  test('who is not among the first hundred is looked up by name', async () => {
    server.people = [...Array.from({ length: 101 }, (_, number) => person(100 + number, `Ann ${number}`)), NOK]
    await show(<Person id={4} name="Nok" />)
    await flush()
    expect(said()).toBe('true')
    expect(asked()).toEqual(['GET /api/people?query=Nok&limit=20'])
  })

  test('a server that tells none is not asked for more, and no dot is shown', async () => {
    server.answer = vi.fn(async () => ({ ok: false, error: { code: 'forbidden', message: 'off' } }))
    await show(<Person id={4} name="Nok" />)
    expect(said()).toBeUndefined()
    expect(asked()).toEqual([])
    expect(within(document.body).queryByText('offline')).toBeNull()
  })
})

test.each([
  ['assigneeId: no such user', 'Assignee: no such user.'],
  ['you may not assign DJ-1; who may: its requester', 'You may not assign DJ-1; who may: its requester.'],
  ['approverId: user 4 is the assignee, and nobody decides on their own work', 'Approver: Nok is the assignee, and nobody decides on their own work.'],
  ['The server cannot be reached.', 'The server cannot be reached.'],
])('%j is refused in the words %j', (message, words) => {
  expect(wordsOf({ message }, (id) => (id === 4 ? 'Nok' : `User ${id}`))).toBe(words)
})
