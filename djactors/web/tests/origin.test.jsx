import { render, screen, waitFor } from '@testing-library/react'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'

import { DjactorsProvider, RefusedPage, TopBar } from '#modules/index.js'
import { createDjactors } from '#modules/shared/services/client.js'
import { isOriginRefused } from '#modules/shared/services/refusedOrigin.js'
import { createServer, settle, tokenOf } from './fakes.js'

const HERE = location.origin
const FORBIDDEN = '{"code":4,"message":"Forbidden: the server does not allow the origin of this page."}'

const polling = (status, responseText = '') =>
  Object.assign(new Error('xhr post error'), { type: 'TransportError', description: status, context: { responseText } })
const websocket = () => Object.assign(new Error('websocket error'), { type: 'TransportError', description: new Event('error') })

/** Answers by method: a status and a body, or nothing where the browser tells the page nothing. */
function network(answers) {
  const asked = []
  const fetch = vi.fn(async (url, { method }) => {
    asked.push(`${method} ${url}`)
    const [status, body = ''] = answers[method] ?? []
    if (status === undefined) throw new TypeError('Failed to fetch')
    return { status, text: async () => body }
  })
  return { fetch, asked }
}

describe('A17: a refused Origin is told from a server that is not there', () => {
  test.each([
    ['the refusal of a poll', polling(403, FORBIDDEN), true],
    ['a 403 of a proxy', polling(403, '<h1>403 Forbidden</h1>'), false],
    ['a 403 of something else', polling(403, '{"code":3}'), false],
    ['a server that is overloaded', polling(503, '{"code":6}'), false],
    ['no network at the own origin', polling(0), false],
    ['a timeout', new Error('timeout'), false],
  ])('%s needs no question', async (_, error, refused) => {
    const { fetch, asked } = network({ POST: [403, FORBIDDEN] })
    expect(await isOriginRefused(error, { url: '', fetch })).toBe(refused)
    expect(asked).toEqual([])
  })

  test.each([
    ['refuses the Origin', { POST: [403, FORBIDDEN] }, true],
    ['would take it', { POST: [400, '{"code":2,"message":"Bad handshake method"}'] }, false],
    ['is not there', {}, false],
    ['is hidden by a proxy that answers for it', { POST: [502, 'Bad Gateway'] }, false],
  ])('of a WebSocket it is asked: the server %s', async (_, answers, refused) => {
    const { fetch, asked } = network(answers)
    expect(await isOriginRefused(websocket(), { url: '', fetch })).toBe(refused)
    expect(asked[0]).toBe(`POST ${HERE}/socket.io/?EIO=4&transport=polling`)
  })

  test.each([
    ['is there', { HEAD: [200] }, true],
    ['is there without the file', { HEAD: [404] }, true],
    ['is not there', {}, false],
    ['would take the page', { POST: [400, '{"code":2}'], HEAD: [200] }, false],
  ])('of another origin, whose answer CORS hides, it is asked: the server %s', async (_, answers, refused) => {
    const { fetch, asked } = network(answers)
    for (const error of [polling(0), websocket()]) {
      expect(await isOriginRefused(error, { url: 'https://other.test/x', fetch })).toBe(refused)
    }
    expect(asked[0]).toBe('POST https://other.test/socket.io/?EIO=4&transport=polling')
  })
})

describe('A17: the connection says it', () => {
  let server
  let client
  const refusal = () => client.socket.state.getState().originRefused
  beforeEach(async () => {
    server = createServer()
    client = createDjactors({ url: '', token: tokenOf(), io: server.io, fetch: server.fetch })
    client.start()
    await settle()
  })
  afterEach(() => client.stop())

  test('until it connects, and goes on trying', async () => {
    server.socket.fire('connect_error', polling(403, FORBIDDEN))
    await settle()
    expect(client.socket.state.getState()).toMatchObject({ status: 'connecting', originRefused: true })
    expect(server.socket.active).toBe(true)
    server.welcome()
    expect(client.socket.state.getState()).toMatchObject({ status: 'connected', originRefused: false })
  })

  test('and no longer where the next attempt fails for another reason', async () => {
    server.socket.fire('connect_error', polling(403, FORBIDDEN))
    await settle()
    server.socket.fire('connect_error', polling(503))
    await settle()
    expect(refusal()).toBe(false)
  })

  test('but not for an attempt that a connect has overtaken', async () => {
    server.socket.fire('connect_error', polling(403, FORBIDDEN))
    server.welcome()
    await settle()
    expect(refusal()).toBe(false)
  })

  test('and a component shows why, with the mend', async () => {
    const host = createServer()
    const create = (options) => createDjactors({ ...options, io: host.io, fetch: host.fetch })
    render(
      <DjactorsProvider token={tokenOf()} create={create}>
        <RefusedPage />
        <TopBar nav={[]} inboxOpen={false} onInbox={() => {}} />
      </DjactorsProvider>,
    )
    await waitFor(() => expect(host.socket).not.toBeNull())
    expect(screen.queryByRole('alert')).toBeNull()
    host.socket.fire('connect_error', polling(403, FORBIDDEN))
    const alert = await screen.findByRole('alert')
    expect(alert.textContent).toContain(HERE)
    expect(alert.textContent).toContain('DJACTORS_ALLOWED_ORIGINS')
    expect(screen.getByTestId('connection-state').dataset.state).toBe('refused')
    host.welcome()
    await waitFor(() => expect(screen.queryByRole('alert')).toBeNull())
  })
})
