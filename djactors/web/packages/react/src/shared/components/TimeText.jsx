/** A moment as people say it ("5 minutes ago"), with the exact time to read on hover and for machines. */
import { useNow } from '../hooks/useNow.js'

const STEPS = [
  [3600, 'minute', 60],
  [86_400, 'hour', 3600],
  [7 * 86_400, 'day', 86_400],
  [31 * 86_400, 'week', 7 * 86_400],
]
// The page speaks English; dates are written as the browser's owner writes them.
const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto', style: 'long' })
const narrow = new Intl.RelativeTimeFormat('en', { numeric: 'auto', style: 'narrow' })
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'medium' })
const day = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', year: 'numeric' })

/** @param {number} then ms @param {number} now ms */
export function relativeTime(then, now, short = false) {
  const seconds = Math.round((then - now) / 1000)
  // Clocks differ by a little, and "in 2 seconds" for what has just happened looks wrong.
  if (seconds > -60 && seconds < 5) return 'just now'
  if (seconds > 0 && seconds < 60) return short ? '<1 min' : 'in less than a minute'
  for (const [below, unit, length] of STEPS) {
    if (Math.abs(seconds) < below) return (short ? narrow : relative).format(Math.trunc(seconds / length), unit)
  }
  return day.format(then)
}

export const exactTime = (text) => exact.format(new Date(text))

/** @param {{ at: string, short?: boolean, className?: string }} props `at` in RFC 3339 */
export function TimeText({ at, short = false, className }) {
  const now = useNow()
  return (
    <time dateTime={at} title={exactTime(at)} className={className}>
      {relativeTime(Date.parse(at), now, short)}
    </time>
  )
}
