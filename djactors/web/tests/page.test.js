import { afterEach, describe, expect, test, vi } from 'vitest'

import { parseRoute } from '../src/app/route.js'
import { begin, session, signIn, signOut, tokenIn } from '../src/app/session.js'
import { iconWith, showInTab } from '../src/app/signals.js'
import { readClaims } from '#modules/shared/services/claims.js'
import { tokenOf } from './fakes.js'

afterEach(() => {
  signOut()
  history.replaceState(null, '', '/')
})

describe('signing in', () => {
  test('takes the token out of the address at once, and keeps it for a reload', () => {
    history.replaceState(null, '', `/observer#token=${tokenOf()}`)
    const before = history.length
    begin()
    expect(location.href).not.toContain('token')
    expect(location.pathname).toBe('/observer')
    expect(history.length).toBe(before)
    expect(session.getState().token).toBe(tokenOf())
    session.setState({ token: null })
    begin()
    expect(session.getState().token).toBe(tokenOf())
  })

  test('an address with something else than a token says so', () => {
    history.replaceState(null, '', '/#token=nonsense')
    begin()
    expect(location.hash).toBe('')
    expect(session.getState()).toMatchObject({ token: null, reason: 'not_a_token', asking: false })
  })

  test('works for one visit where storage is switched off', () => {
    vi.spyOn(Storage.prototype, 'setItem').mockImplementation(() => {
      throw new DOMException('denied', 'SecurityError')
    })
    signIn(tokenOf())
    expect(session.getState().token).toBe(tokenOf())
  })

  test.each([
    [' abc ', 'abc'],
    ['http://127.0.0.1:3000/#token=a.b.c', 'a.b.c'],
    ['#token=%zz', null],
    ['', null],
  ])('%j holds the token %j', (text, token) => expect(tokenIn(text)).toBe(token))

  test.each([['a.b'], ['a.!.c'], [''], [null], [`h.${btoa('{"userId":"2","tenantId":1,"exp":1}')}.s`], [`h.${btoa('null')}.s`]])(
    '%j is no token of a person',
    (text) => expect(readClaims(text)).toBeNull(),
  )

  test('names in any script are read', () => {
    const json = new TextEncoder().encode(JSON.stringify({ userId: 2, tenantId: 1, role: 'user', name: 'สมชาย', exp: 1 }))
    const token = `h.${btoa(String.fromCharCode(...json)).replace(/\+/g, '-').replace(/\//g, '_').replace(/=/g, '')}.s`
    expect(readClaims(token)).toMatchObject({ name: 'สมชาย', expiresAt: 1000 })
  })
})

test.each([
  ['/', { view: 'queue' }],
  ['/#/jobs/5', { view: 'job', id: 5 }],
  ['/#/jobs/0', { view: 'queue' }],
  ['/#/jobs/x', { view: 'queue' }],
  ['/observer', { view: 'observer' }],
  ['/observers', { view: 'queue' }],
])('%s is %j', (path, route) => expect(parseRoute(path)).toEqual(route))

test('the tab shows the count in its title and its icon', () => {
  document.head.innerHTML = '<link rel="icon" href="/favicon.svg">'
  const icon = document.querySelector('link')
  showInTab('My queue', 3)
  expect(document.title).toBe('(3) My queue · djactors')
  expect(decodeURIComponent(icon.getAttribute('href'))).toMatch(/^data:image\/svg\+xml,.*>3<\/text>/)
  showInTab('My queue', 0)
  expect(document.title).toBe('My queue · djactors')
  expect(icon.getAttribute('href')).toBe('/favicon.svg')
  expect(decodeURIComponent(iconWith(1000))).toContain('>99+<')
})
