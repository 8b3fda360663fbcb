/**
 * Who is signed in: a token, in this tab.
 *
 * Rules: a token in the address (`#token=JWT`) is taken out of it before anything else happens, so that it is in no
 * history, screenshot or referrer. It is kept in sessionStorage: a reload stays signed in, another tab does not, and closing
 * the tab forgets it.
 */
import { createStore } from 'zustand/vanilla'

import { readClaims } from '#modules/shared/services/claims.js'

const KEY = 'djactors.token'

function stored(action) {
  try {
    return action(sessionStorage)
  } catch {
    // Storage may be switched off: the sign-in then lasts until the reload.
    return null
  }
}

/** The token in a text that is one, or in a sign-in link; null where there is none. */
export function tokenIn(text) {
  const trimmed = text.trim()
  const match = /[#&?]token=([^&\s]+)/.exec(trimmed)
  try {
    return (match ? decodeURIComponent(match[1]) : trimmed) || null
  } catch {
    return null
  }
}

export const session = createStore(() => ({ token: null, reason: null }))

export function signIn(token) {
  stored((storage) => storage.setItem(KEY, token))
  session.setState({ token, reason: null })
}

/** @param {string | null} [reason] what to say on the sign-in page */
export function signOut(reason = null) {
  stored((storage) => storage.removeItem(KEY))
  session.setState({ token: null, reason })
}

/** Another token of the same person, which the server has taken. */
export function keepToken(token) {
  stored((storage) => storage.setItem(KEY, token))
  session.setState({ token })
}

function takeFromAddress() {
  if (!/[#&]token=/.test(location.hash)) return null
  const token = tokenIn(location.hash)
  history.replaceState(null, '', location.pathname + location.search)
  return token
}

/** Look at the address and at the storage, now and whenever the address changes. */
export function begin() {
  const take = () => {
    const token = takeFromAddress()
    if (token === null) return false
    if (readClaims(token) === null) signOut('not_a_token')
    else signIn(token)
    return true
  }
  if (!take()) {
    const token = stored((storage) => storage.getItem(KEY))
    if (readClaims(token) !== null) session.setState({ token })
  }
  addEventListener('hashchange', take)
}
