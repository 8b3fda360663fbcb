/**
 * Who is signed in: a token, in this tab.
 *
 * Rules:
 *  - A token in the address (`#token=JWT`, `#/jobs/5&token=JWT`) is taken out of it before anything else happens, so that it is
 *    in no history, screenshot or referrer.
 *  - Each tab has its own sign-in, in sessionStorage: a reload stays signed in, and two people can use two tabs.
 *  - A tab without one asks the other tabs of this browser for theirs (`tabs.js`): what is opened in a new tab is signed in.
 *    Signing out ends the sign-in in all tabs of that person, and a tab that was signed out does not ask.
 *  - Nothing that is in an address changes who is signed in without being asked for: a token of somebody else is `offered`,
 *    to be taken or not, and text that is no token is only told of.
 *
 * Decision: between tabs the token goes by BroadcastChannel and not by localStorage. Both reach scripts of this origin only,
 * but localStorage would leave the token on the disk after the last tab is closed, and would make one person of all tabs.
 * The price: where no tab is open, or the browser has frozen them all, one has to sign in.
 */
import { createStore } from 'zustand/vanilla'

import { readClaims } from '#modules/shared/services/claims.js'
import { serverNow } from '#modules/shared/services/clock.js'
import * as tabs from './tabs.js'

const KEY = 'djactors.token'
/** Says that this tab was signed out on purpose. */
const SIGNED_OUT = 'djactors.signed-out'

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

/**
 * `token` or null; `reason`: what to say on the sign-in page; `asking`: whether other tabs are being asked; `offered`: a token
 * from the address, of somebody else than who is signed in; `refused`: why a token from the address changed nothing.
 */
const NOBODY = { token: null, reason: null, asking: false, offered: null, refused: null }
export const session = createStore(() => NOBODY)
/** Who was signed in here last. */
let last = null

export const samePerson = (one, other) => one !== null && other !== null && one.userId === other.userId && one.tenantId === other.tenantId
const isUsable = (token) => (readClaims(token)?.expiresAt ?? 0) > serverNow()
const person = () => readClaims(session.getState().token)

function become(token) {
  stored((storage) => {
    storage.setItem(KEY, token)
    storage.removeItem(SIGNED_OUT)
  })
  session.setState({ ...NOBODY, token })
}

/** Sign in, in this tab and in those that wait for it. */
export function signIn(token) {
  become(token)
  tabs.offer(token)
}

function leave(reason) {
  last = person()
  stored((storage) => {
    storage.removeItem(KEY)
    if (reason === 'signed_out') storage.setItem(SIGNED_OUT, '1')
  })
  session.setState({ ...NOBODY, reason })
}

/**
 * End the sign-in.
 * @param {string | null} [reason] what to say on the sign-in page; `signed_out` also ends it in the other tabs of this person
 */
export function signOut(reason = null) {
  const claims = person()
  const { offered } = session.getState()
  leave(reason)
  if (reason === 'signed_out') {
    if (claims) tabs.tellSignedOut(claims)
  } else if (offered !== null) {
    // The server has ended the old sign-in: the link that was just opened switches nobody any more.
    signIn(offered)
  }
}

function replaceToken(token) {
  stored((storage) => storage.setItem(KEY, token))
  session.setState({ token })
}

/** Another token of the same person, which the server has taken. */
export function keepToken(token) {
  if (token === session.getState().token) return
  replaceToken(token)
  tabs.offer(token)
}

/** A token that came while somebody is signed in; `LinkNotice` asks the server, and the person, what is to become of it. */
export function consider(token) {
  const claims = readClaims(token)
  if (claims === null) session.setState({ refused: 'not_a_token' })
  else if (token !== session.getState().token) session.setState({ offered: token, refused: null })
}

export const dismissOffered = (refused = null) => session.setState({ offered: null, refused })

/** Go on with the token that was offered. */
export function takeOffered() {
  const { offered } = session.getState()
  const same = samePerson(person(), readClaims(offered))
  dismissOffered()
  if (same) keepToken(offered)
  else signIn(offered)
}

function takeFromAddress() {
  const { hash, pathname, search } = location
  if (!/[#&]token=/.test(hash)) return null
  const token = tokenIn(hash)
  const rest = hash.replace(/[#&]token=[^&]*/, '')
  history.replaceState(history.state, '', pathname + search + rest)
  return token ?? ''
}

/** Take what the address holds. @returns {boolean} whether it held something */
function take() {
  const token = takeFromAddress()
  if (token === null) return false
  if (isUsable(session.getState().token)) consider(token)
  else if (readClaims(token) === null) session.setState({ ...NOBODY, reason: 'not_a_token' })
  else signIn(token)
  return true
}

/** Another tab gave its token: a fresh one of the same person, or one for a tab that has none. */
function given(token) {
  if (!isUsable(token)) return
  const { token: own, reason } = session.getState()
  if (own !== null) {
    const [mine, theirs] = [readClaims(own), readClaims(token)]
    if (samePerson(mine, theirs) && theirs.expiresAt > mine.expiresAt) replaceToken(token)
  } else if (reason === null || reason === 'not_a_token' || (reason === 'token_expired' && samePerson(last, readClaims(token)))) {
    become(token)
  }
}

/** Look at the storage, at the address, and at the other tabs: now, and whenever they change. */
export function begin() {
  const token = stored((storage) => storage.getItem(KEY))
  if (readClaims(token) !== null) session.setState({ ...NOBODY, token })
  tabs.listen({
    current: () => (isUsable(session.getState().token) ? session.getState().token : null),
    given,
    signedOut(who) {
      if (samePerson(person(), who)) leave('signed_out')
    },
  })
  const found = take()
  addEventListener('hashchange', take)
  const left = stored((storage) => storage.getItem(SIGNED_OUT)) !== null
  if (session.getState().token !== null || found) return
  if (left) {
    session.setState({ reason: 'signed_out' })
    return
  }
  session.setState({ asking: true })
  void tabs.ask().then((theirs) => {
    if (session.getState().token === null && theirs !== null) given(theirs)
    session.setState({ asking: false })
  })
}
