import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'

import { tokenOf } from './fakes.js'

const SOMCHAI = tokenOf()
const NOK = tokenOf({ userId: 4, name: 'Nok' })

/** Channels of one browser: whoever has the same one hears the others, soon. */
class FakeChannel extends EventTarget {
  static open = new Set()
  constructor(name) {
    super()
    this.name = name
    FakeChannel.open.add(this)
  }
  postMessage(data) {
    for (const other of FakeChannel.open) {
      if (other !== this && other.name === this.name) queueMicrotask(() => other.dispatchEvent(new MessageEvent('message', { data })))
    }
  }
  close() {
    FakeChannel.open.delete(this)
  }
}

/** What is kept by tab, each a page of its own. */
const opened = []
async function tab({ address = '/', storage = {} } = {}) {
  sessionStorage.clear()
  for (const [key, value] of Object.entries(storage)) sessionStorage.setItem(key, value)
  history.replaceState(null, '', address)
  vi.resetModules()
  const module = await import('../src/app/session.js')
  module.begin()
  const made = { ...module, state: () => module.session.getState(), kept: { ...sessionStorage } }
  opened.push(made)
  return made
}
const ask = () => vi.advanceTimersByTimeAsync(1000)

beforeEach(() => {
  vi.useFakeTimers()
  vi.stubGlobal('BroadcastChannel', FakeChannel)
})
afterEach(() => {
  // Their listeners outlive them here.
  dispatchEvent(new PageTransitionEvent('pagehide'))
  FakeChannel.open.clear()
  history.replaceState(null, '', '/')
  vi.unstubAllGlobals()
  vi.useRealTimers()
})

describe('c4: tabs of one browser', () => {
  test('a new tab is given the sign-in, and its address stays', async () => {
    const first = await tab()
    await ask()
    first.signIn(SOMCHAI)
    const second = await tab({ address: '/#/jobs/5' })
    expect(second.state()).toMatchObject({ token: null, asking: true })
    await ask()
    expect(second.state()).toMatchObject({ token: SOMCHAI, asking: false })
    expect(location.hash).toBe('#/jobs/5')
  })

  test('the first tab asks in vain and says so', async () => {
    const first = await tab()
    await ask()
    expect(first.state()).toMatchObject({ token: null, asking: false, reason: null })
  })

  test('a tab that waits at the sign-in is signed in by another', async () => {
    const waiting = await tab({ address: '/#/jobs/5' })
    await ask()
    await tab({ address: `/#token=${SOMCHAI}` })
    await ask()
    expect(waiting.state().token).toBe(SOMCHAI)
  })

  test('two people stay two people, and a fresh token is for its own only', async () => {
    const one = await tab({ address: `/#token=${SOMCHAI}` })
    const other = await tab({ address: `/#token=${NOK}` })
    await ask()
    expect([one.state().token, other.state().token]).toEqual([SOMCHAI, NOK])
    const fresh = tokenOf({ exp: 4_100_000_000 })
    one.keepToken(fresh)
    const same = await tab({ storage: { 'djactors.token': SOMCHAI } })
    one.keepToken(tokenOf({ exp: 4_200_000_000 }))
    await ask()
    expect(same.state().token).toBe(tokenOf({ exp: 4_200_000_000 }))
    expect(other.state().token).toBe(NOK)
  })

  test('signing out is for all tabs of this person, and lasts', async () => {
    const one = await tab({ address: `/#token=${SOMCHAI}` })
    const same = await tab({ storage: { 'djactors.token': SOMCHAI } })
    const other = await tab({ address: `/#token=${NOK}` })
    one.signOut('signed_out')
    await ask()
    expect([one.state(), same.state()]).toMatchObject([{ token: null, reason: 'signed_out' }, { token: null, reason: 'signed_out' }])
    expect(other.state().token).toBe(NOK)
    // A reload of a tab that was signed out does not become somebody else.
    const again = await tab({ storage: { 'djactors.signed-out': '1' } })
    await ask()
    expect(again.state()).toMatchObject({ token: null, reason: 'signed_out' })
  })

  test('a token that has ended is not given on', async () => {
    await tab({ storage: { 'djactors.token': tokenOf({ exp: 1 }) } })
    const second = await tab()
    await ask()
    expect(second.state().token).toBeNull()
  })

  test('a browser without channels asks nobody', async () => {
    vi.stubGlobal('BroadcastChannel', undefined)
    const only = await tab()
    await ask()
    expect(only.state()).toMatchObject({ token: null, asking: false })
    only.signIn(SOMCHAI)
    expect(only.state().token).toBe(SOMCHAI)
  })
})

describe('c5: an address while somebody is signed in', () => {
  test('somebody else is only offered, and taken when asked for', async () => {
    const here = await tab({ address: `/#token=${NOK}`, storage: { 'djactors.token': SOMCHAI } })
    expect(here.state()).toMatchObject({ token: SOMCHAI, offered: NOK })
    expect(location.href).not.toContain('token')
    here.dismissOffered()
    expect(here.state()).toMatchObject({ token: SOMCHAI, offered: null })
    here.consider(NOK)
    here.takeOffered()
    expect(here.state()).toMatchObject({ token: NOK, offered: null })
    expect(sessionStorage.getItem('djactors.token')).toBe(NOK)
  })

  test.each([['garbage'], ['a.b.c'], [''], ['%zz']])('#token=%s changes nothing and is told of', async (text) => {
    const here = await tab({ address: `/#token=${text}`, storage: { 'djactors.token': SOMCHAI } })
    expect(here.state()).toMatchObject({ token: SOMCHAI, offered: null, refused: 'not_a_token' })
    expect(location.hash).toBe('')
  })

  test('the link that was opened counts once the server has ended the old sign-in', async () => {
    const here = await tab({ address: `/#token=${NOK}`, storage: { 'djactors.token': SOMCHAI } })
    here.signOut('token_invalid')
    expect(here.state()).toMatchObject({ token: NOK, reason: null })
  })

  test('a sign-in link may lead to a job', async () => {
    const here = await tab({ address: `/#/jobs/5&token=${SOMCHAI}` })
    expect(here.state().token).toBe(SOMCHAI)
    expect(location.hash).toBe('#/jobs/5')
  })
})
