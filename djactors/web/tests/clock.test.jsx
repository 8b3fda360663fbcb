import { act, render, screen } from '@testing-library/react'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'

import { TimeText } from '#modules/shared/components/TimeText.jsx'
import { createApi } from '#modules/shared/services/api.js'
import { learnTime, serverNow } from '#modules/shared/services/clock.js'

const REAL = Date.parse('2026-01-27T10:30:00Z')
const MINUTES = 60_000

beforeEach(() => vi.useFakeTimers({ now: REAL }))
afterEach(() => vi.useRealTimers())

describe('c3: the server says what time it is', () => {
  test.each([[-7], [7], [90]])('to a browser whose clock is wrong by %i minutes', async (wrong) => {
    vi.setSystemTime(REAL + wrong * MINUTES)
    const answer = { ok: true, status: 200, headers: new Headers({ date: new Date(REAL).toUTCString() }), json: async () => ({}) }
    render(<TimeText at="2026-01-27T10:29:30.000000Z" />)
    await act(() => createApi({ url: 'http://server', getToken: () => 'a', fetch: async () => answer }).jobs())
    expect(screen.getByText('just now')).toBeTruthy()
    expect(Math.abs(serverNow() - REAL)).toBeLessThan(1500)
    // And the clock goes on.
    await act(() => vi.advanceTimersByTimeAsync(2 * MINUTES))
    expect(screen.getByText('2 minutes ago')).toBeTruthy()
  })

  test.each([
    ['that is rounded to seconds', new Date(REAL - 900).toUTCString(), 0],
    ['that took long', new Date(REAL - 5 * MINUTES).toUTCString(), 20_000],
    ['without a time', null, 0],
    ['with something else', 'yesterday', 0],
  ])('an answer %s changes nothing', (_, date, roundTrip) => {
    learnTime(date, roundTrip)
    expect(serverNow()).toBe(REAL)
  })

  test('what has happened is never in the future, and what is to come may be', () => {
    const soon = new Date(REAL + 3 * MINUTES).toISOString()
    render(<p><TimeText at={soon} />; <TimeText at={soon} future /></p>)
    expect(screen.getByRole('paragraph').textContent).toBe('just now; in 3 minutes')
  })
})
