/**
 * What time it is on the server. A browser's clock may be minutes wrong, and "in 3 minutes" for what has just happened looks
 * broken; so all that is compared with the server's times is compared with the server's own clock, which each of its
 * answers tells (`Date`).
 *
 * Rules: an answer that took long says little, and `Date` has whole seconds: a difference below `TOLERANCE` from what is
 * known changes nothing, so that times do not flicker. Until the first answer the browser's clock is taken. There is one
 * clock for the whole page, as there is one server.
 */

/** ms that two readings may differ without one of them being wrong: a second of rounding and half of a usual round trip. */
const TOLERANCE = 1500
/** ms that an answer may take and still tell the time. */
const MAX_ROUND_TRIP = 10_000

let ahead = 0
const listeners = new Set()

/** Now, in ms since 1970, by the server's clock as far as it is known. */
export const serverNow = () => Date.now() + ahead

/**
 * Learn from an answer.
 * @param {string | null | undefined} date its `Date`
 * @param {number} roundTrip ms from the request to the answer
 */
export function learnTime(date, roundTrip) {
  const told = Date.parse(date ?? '')
  if (Number.isNaN(told) || !(roundTrip >= 0 && roundTrip <= MAX_ROUND_TRIP)) return
  // Half a second for the rounding down, half of the way for the way back.
  const difference = told + 500 + roundTrip / 2 - Date.now()
  if (Math.abs(difference - ahead) <= TOLERANCE + roundTrip / 2) return
  ahead = difference
  for (const listener of listeners) listener()
}

/** Hear of each correction. @returns {() => void} stops it */
export function onCorrection(listener) {
  listeners.add(listener)
  return () => listeners.delete(listener)
}

/** For tests: as before the first answer. */
export function forgetTime() {
  ahead = 0
}
