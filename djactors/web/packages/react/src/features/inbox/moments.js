/**
 * The moments to which a notification can be snoozed, in the time zone of the browser.
 *
 * Rules: what is offered is at least a few minutes away, and before the notification expires. No two of them are the same.
 */

/** ms that a notification is kept, as the server has it. */
const KEPT = 30 * 86_400_000
const HOUR = 3_600_000
/** ms: what is sooner is no snooze. */
const SOON = 10 * 60_000
/** Hours of the day. */
const EVENING = 18
const MORNING = 9
const MONDAY = 1

export const expiryOf = ({ createdAt }) => Date.parse(createdAt) + KEPT

function at(now, days, hour) {
  const day = new Date(now)
  return new Date(day.getFullYear(), day.getMonth(), day.getDate() + days, hour).getTime()
}

/** @param {number} now ms @param {number} expiry ms @returns {{ key: string, label: string, at: number }[]} `at` in ms */
export function momentsFor(now, expiry) {
  const toMonday = (MONDAY - new Date(now).getDay() + 7) % 7 || 7
  const moments = [
    { key: 'hour', label: 'In an hour', at: now + HOUR },
    { key: 'evening', label: 'This evening', at: at(now, 0, EVENING) },
    { key: 'tomorrow', label: 'Tomorrow morning', at: at(now, 1, MORNING) },
    { key: 'week', label: 'Next week', at: at(now, toMonday, MORNING) },
  ]
  return moments.filter(
    (moment, place) => moment.at > now + SOON && moment.at < expiry && !moments.slice(0, place).some((earlier) => earlier.at === moment.at),
  )
}

const time = new Intl.DateTimeFormat(undefined, { hour: 'numeric', minute: '2-digit' })
const weekday = new Intl.DateTimeFormat('en', { weekday: 'short' })
const date = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' })

/** A moment to come, as short as it can be understood: `18:00`, `tomorrow, 09:00`, `Mon, 09:00`, `3 Mar, 09:00`. */
export function momentText(moment, now) {
  const clock = time.format(moment)
  if (moment < at(now, 1, 0)) return clock
  if (moment < at(now, 2, 0)) return `tomorrow, ${clock}`
  return `${moment < at(now, 7, 0) ? weekday.format(moment) : date.format(moment)}, ${clock}`
}
