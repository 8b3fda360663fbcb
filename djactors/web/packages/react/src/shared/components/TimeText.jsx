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

/** @param {number} then ms, before or after now @param {number} now ms */
export function relativeTime(then, now, short = false) {
  const seconds = Math.round((then - now) / 1000)
  if (seconds > -60 && seconds < 5) return 'just now'
  if (seconds > 0 && seconds < 60) return short ? '<1 min' : 'in less than a minute'
  for (const [below, unit, length] of STEPS) {
    if (Math.abs(seconds) < below) return (short ? narrow : relative).format(Math.trunc(seconds / length), unit)
  }
  return day.format(then)
}

/** Of what has happened: never in the future, whatever the clocks say. */
export const pastTime = (then, now, short = false) => relativeTime(Math.min(then, now), now, short)

export const exactTime = (text) => exact.format(new Date(text))

/** @param {{ at: string, future?: boolean, short?: boolean, className?: string }} props `at` in RFC 3339; `future` where it may be still to come */
export function TimeText({ at, future = false, short = false, className }) {
  const now = useNow()
  return (
    <time dateTime={at} title={exactTime(at)} className={className}>
      {(future ? relativeTime : pastTime)(Date.parse(at), now, short)}
    </time>
  )
}
