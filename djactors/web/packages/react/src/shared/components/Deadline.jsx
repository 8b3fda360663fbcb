/** A deadline, more urgent as it comes nearer: amber within a day, red once it has passed. */
import { useNow } from '../hooks/useNow.js'
import { Icon } from './Icon.jsx'
import { exactTime, relativeTime } from './TimeText.jsx'

const DAY = 86_400_000 // ms

export function Deadline({ at, done = false, nothing = null, className = '' }) {
  const now = useNow()
  if (!at) return nothing
  const left = Date.parse(at) - now
  const tone = done ? 'text-ink-2' : left < 0 ? 'text-danger font-semibold' : left < DAY ? 'text-warn font-semibold' : 'text-ink-2'
  const words = left < 0 && !done ? 'Overdue,' : 'Due'
  return (
    <span className={`inline-flex items-center gap-1.5 ${tone} ${className}`}>
      <Icon name="clock" className="size-4" />
      <span>
        {words}{' '}
        <time dateTime={at} title={exactTime(at)}>{relativeTime(Date.parse(at), now)}</time>
      </span>
    </span>
  )
}
