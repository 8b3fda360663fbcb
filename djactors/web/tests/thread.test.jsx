import { act, fireEvent, render, screen, within } from '@testing-library/react'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'

import { Announcer, DjactorsProvider, JobDetail, JobThread } from '#modules/index.js'
import { splitMentions, stillMentioned, typedMention } from '#modules/features/jobs/mentions.js'
import { movesFor } from '#modules/features/jobs/moves.js'
import { createDjactors } from '#modules/shared/services/client.js'
import { comment, createServer, deferred, job, person, tokenOf } from './fakes.js'

let server
let bodies

const flush = () => act(() => vi.advanceTimersByTimeAsync(0))
const pass = (ms) => act(() => vi.advanceTimersByTimeAsync(ms))

async function show(children, claims) {
  const fetch = (url, options) => {
    // That opening the job reads what the inbox has of it is no matter here.
    if (options.method === 'POST' && !url.endsWith('/read-notifications')) bodies.push([new URL(url).pathname, JSON.parse(options.body ?? '{}')])
    return server.fetch(url, options)
  }
  const create = (options) => createDjactors({ ...options, io: server.io, fetch })
  render(
    <DjactorsProvider url="http://server" token={tokenOf(claims)} create={create}>
      <Announcer />
      {children}
    </DjactorsProvider>,
  )
  await flush()
  act(() => server.welcome())
  await flush()
}

const shown = () => screen.queryAllByTestId('comment').map((each) => Number(each.dataset.commentId))

beforeEach(() => {
  vi.useFakeTimers()
  server = createServer()
  server.jobs = [job(5, { requesterId: 2, requesterName: 'Somchai' })]
  bodies = []
})
afterEach(() => vi.useRealTimers())

describe('the thread', () => {
  const several = (count) => Array.from({ length: count }, (_, number) => comment(number + 1))

  test('shows the newest page, and older ones when asked', async () => {
    server.comments = several(45)
    await show(<JobThread jobId={5} />)
    expect(shown()[0]).toBe(45)
    expect(shown().length).toBe(20)
    for (const count of [40, 45]) {
      fireEvent.click(screen.getByRole('button', { name: 'Older comments' }))
      await flush()
      expect(shown().length).toBe(count)
    }
    expect(screen.queryByRole('button', { name: 'Older comments' })).toBeNull()
    expect(shown()).toEqual(several(45).map(({ id }) => id).reverse())
  })

  test('a live comment is there once and at its place, also if the page brings it too', async () => {
    server.comments = [comment(1)]
    await show(<JobThread jobId={5} />)
    act(() => server.comment(2))
    act(() => server.send('comment:added', { comment: comment(2) }))
    expect(shown()).toEqual([2, 1])
    expect(screen.getByTestId('announce-polite').textContent).toContain('Nok commented: comment 2')
    // One on another job is not of this thread.
    act(() => server.comment(3, { jobId: 6 }))
    expect(shown()).toEqual([2, 1])
  })

  test('a comment that came while the page was under way stays', async () => {
    const late = deferred()
    server.intercept = (method, path) => (path.endsWith('/comments') ? late.promise : undefined)
    await show(<JobThread jobId={5} />)
    act(() => server.comment(2))
    late.resolve({ body: { items: [comment(1)], nextBefore: null, offset: server.offset() } })
    await flush()
    expect(shown()).toEqual([2, 1])
  })

  test('after a connect it is loaded again: what was missed is there, and what was paged in stays', async () => {
    server.comments = several(30)
    await show(<JobThread jobId={5} />)
    fireEvent.click(screen.getByRole('button', { name: 'Older comments' }))
    await flush()
    act(() => server.drop())
    server.comments = several(33)
    act(() => server.welcome())
    await flush()
    expect(shown()).toEqual(several(33).map(({ id }) => id).reverse())
    expect(screen.getByTestId('announce-polite').textContent).toContain('comment 33')
  })

  test('where more was missed than a page, nothing is left out in between', async () => {
    server.comments = several(30)
    await show(<JobThread jobId={5} />)
    act(() => server.drop())
    server.comments = several(80)
    act(() => server.welcome())
    await flush()
    expect(shown()).toEqual(several(80).map(({ id }) => id).reverse().slice(0, 20))
    fireEvent.click(screen.getByRole('button', { name: 'Older comments' }))
    await flush()
    expect(shown()).toEqual(several(80).map(({ id }) => id).reverse().slice(0, 40))
  })

  test('when history was lost, comments of the lost past go', async () => {
    server.comments = several(3)
    await show(<JobThread jobId={5} />)
    server.comments = several(1)
    act(() => server.send('changes:reset', { offset: server.offset() }, undefined))
    await flush()
    expect(shown()).toEqual([1])
  })

  test('says that it is empty, and that it could not be loaded and how to go on', async () => {
    server.intercept = (_, path) => (path.endsWith('/comments') ? { status: 503, body: { error: { code: 'unavailable', message: 'the disk is full' } } } : undefined)
    await show(<JobThread jobId={5} />)
    expect(screen.getByText(/The disk is full\./)).toBeTruthy()
    server.intercept = () => undefined
    fireEvent.click(screen.getByRole('button', { name: 'Try again' }))
    await flush()
    expect(screen.getByText('No comments yet')).toBeTruthy()
  })

  test('is plain text, with links to the web and mentions marked', async () => {
    const text = '<b onclick="x">@Nok</b> javascript:alert(1) https://example.com/@Nok mail a@Nok.example, @zoé too'
    server.comments = [comment(1, { text, mentions: [{ id: 4, name: 'Nok' }, { id: 8, name: 'Zoe' }, { id: 9, name: 'Renamed' }] })]
    await show(<JobThread jobId={5} />)
    const shownComment = screen.getByTestId('comment')
    expect(shownComment.textContent).toContain(text)
    expect(shownComment.querySelector('b')).toBeNull()
    const link = within(shownComment).getByRole('link')
    expect([link.href, link.rel]).toEqual(['https://example.com/@Nok', 'noopener noreferrer nofollow'])
    expect(within(shownComment).getAllByTestId('mention').map((mark) => mark.textContent)).toEqual(['@Nok', '@zoé'])
    expect(shownComment.textContent).toContain('Mentions Renamed.')
  })
})

describe('writing', () => {
  const field = () => screen.getByRole('textbox', { name: 'Comment' })
  function type(text) {
    field().focus()
    fireEvent.change(field(), { target: { value: text, selectionStart: text.length, selectionEnd: text.length } })
  }
  const key = (name) => fireEvent.keyDown(field(), { key: name })
  const send = async () => {
    fireEvent.click(screen.getByRole('button', { name: 'Send comment' }))
    await flush()
  }

  beforeEach(() => {
    server.people = [person(4, 'Nok Suda'), person(7, 'Nok Suda', { role: 'admin' }), person(8, 'Bob')]
  })

  test('a mention is completed by the keyboard, and the chosen one is sent by id', async () => {
    await show(<JobThread jobId={5} />)
    type('Look, @nok')
    await pass(200)
    expect(screen.getAllByRole('option').length).toBe(2)
    key('ArrowDown')
    expect(document.getElementById(field().getAttribute('aria-activedescendant')).textContent).toContain('Admin')
    expect(key('Enter')).toBe(false)
    expect(field().value).toBe('Look, @Nok Suda ')
    type('Look, @Nok Suda please')
    await pass(200)
    expect(screen.queryByRole('option')).toBeNull()
    await send()
    expect(bodies).toEqual([['/api/jobs/5/comments', { text: 'Look, @Nok Suda please', mentions: [7] }]])
    expect(field().value).toBe('')
  })

  test('whom the text no longer names is not sent', async () => {
    await show(<JobThread jobId={5} />)
    type('@bo')
    await pass(200)
    key('Tab')
    expect(field().value).toBe('@Bob ')
    type('never mind')
    await send()
    expect(bodies).toEqual([['/api/jobs/5/comments', { text: 'never mind' }]])
  })

  test('Escape closes the list for this @; a name that nobody has is asked for once', async () => {
    await show(<JobThread jobId={5} />)
    type('@bo')
    await pass(200)
    expect(key('Escape')).toBe(false)
    type('@bob')
    await pass(200)
    expect(screen.queryByRole('option')).toBeNull()
    server.requests.length = 0
    type('@zz')
    await pass(200)
    type('@zz at')
    await pass(200)
    expect(server.requests.filter((each) => each.includes('query='))).toEqual(['GET /api/people?query=zz&limit=8'])
  })

  test('what is refused stays in the field, with the reason', async () => {
    await show(<JobThread jobId={5} />)
    server.intercept = (method) => (method === 'POST' ? { status: 409, body: { error: { code: 'conflict', message: 'mentions: user 4 has left' } } } : undefined)
    type('hello')
    await send()
    expect(screen.getByText('Mentions: User 4 has left.').closest('[role="alert"]')).toBeTruthy()
    expect(field().value).toBe('hello')
  })
})

describe('mentions', () => {
  const people = [{ id: 1, name: 'Anna' }, { id: 2, name: 'Anna Lee' }, { id: 3, name: 'Zoë' }, { id: 4, name: 'วรรณ' }]
  test.each([
    ['@Anna Lee, hi', ['@Anna Lee', ', hi']],
    ['@anna hi', ['@anna', ' hi']],
    ['@Annabel', ['@Annabel']],
    ['x@Anna', ['x@Anna']],
    ['(@ZOE)', ['(', '@ZOE', ')']],
    ['@Anna  Lee', ['@Anna  Lee']],
    ['@Anna\nLee', ['@Anna', '\nLee']],
    ['@วรรณ', ['@วรรณ']],
    ['@@Anna', ['@', '@Anna']],
  ])('%j', (text, parts) => {
    expect(splitMentions(text, people).map((part) => part.text ?? part)).toEqual(parts)
  })

  test.each([
    ['hi @no', 6, { at: 3, query: 'no' }],
    ['hi @no', 4, { at: 3, query: '' }],
    ['a@no', 4, null],
    ['@ no', 4, null],
    ['@no\nx', 5, null],
    ['none', 4, null],
  ])('what is typed in %j at %i', (text, caret, typed) => {
    expect(typedMention(text, caret)).toEqual(typed)
  })

  test('of those who were chosen, whom the text still names', () => {
    expect(stillMentioned('@zoe and @Anna', people).map(({ id }) => id)).toEqual([1, 3])
  })
})

describe('the job', () => {
  const me = (userId, role = 'user') => ({ userId, role })

  test('is cancelled with a reason, after a question', async () => {
    await show(<JobDetail jobId={5} onBack={() => {}} />)
    fireEvent.click(screen.getByRole('button', { name: 'Cancel job' }))
    const dialog = screen.getByRole('dialog')
    expect(within(dialog).getByRole('button', { name: 'Keep job' })).toBeTruthy()
    fireEvent.change(within(dialog).getByRole('textbox', { name: 'Reason' }), { target: { value: 'no budget' } })
    server.intercept = (method, path) => (path.endsWith('/cancel') ? { body: { ...server.jobs[0], status: 'cancelled', updatedAt: '2026-01-28T10:00:00Z' } } : undefined)
    fireEvent.click(within(dialog).getByRole('button', { name: 'Cancel job' }))
    await flush()
    expect(bodies).toEqual([['/api/jobs/5/cancel', { reason: 'no budget' }]])
    expect(screen.getByTestId('job-status').textContent).toBe('Cancelled')
    expect(screen.getByRole('list', { name: 'Progress' }).textContent).toContain('Cancelled')
    for (const name of ['Cancel job', 'Complete', 'Move deadline', 'Set deadline', 'Reassign']) expect(screen.queryByRole('button', { name })).toBeNull()
  })

  test('gets another title from whoever may', async () => {
    await show(<JobDetail jobId={5} onBack={() => {}} />)
    fireEvent.click(screen.getByRole('button', { name: 'Change the title' }))
    fireEvent.change(screen.getByRole('textbox', { name: 'Title' }), { target: { value: ' Poster ' } })
    fireEvent.click(screen.getByRole('button', { name: 'Save' }))
    await flush()
    expect(bodies).toEqual([['/api/jobs/5/title', { title: 'Poster' }]])
  })

  test.each([
    ['its requester', me(1), true],
    ['a manager', me(9, 'manager'), true],
    ['its assignee', me(2), false],
    ['a colleague', me(9), false],
  ])('%s: %s', (_, who, may) => {
    const offered = movesFor(job(5), who)
    expect([offered.has('cancel'), offered.has('title')]).toEqual([may, may])
    expect(movesFor(job(5, { status: 'completed' }), who).has('cancel')).toBe(false)
    expect(movesFor(job(5, { status: 'cancelled' }), who).has('title')).toBe(may)
  })

  test('names everybody who has a part in it', async () => {
    server.jobs = [job(5, { requesterName: 'Alice', approverName: 'Nok', managerId: 6, managerName: 'Mia', watcherIds: [8], watchers: [{ id: 8, name: 'Bob' }] })]
    await show(<JobDetail jobId={5} onBack={() => {}} />, { role: 'manager', userId: 9 })
    const facts = screen.getByRole('complementary', { name: 'Facts' })
    for (const name of ['Somchai', 'Alice', 'Nok', 'Mia', 'Bob']) expect(within(facts).getByText(name)).toBeTruthy()
    expect(facts.textContent).not.toContain('User ')
    fireEvent.click(within(facts).getByRole('button', { name: 'Remove Bob from the watchers' }))
    await flush()
    expect(bodies).toEqual([['/api/jobs/5/unwatch', { userId: 8 }]])
  })
})
