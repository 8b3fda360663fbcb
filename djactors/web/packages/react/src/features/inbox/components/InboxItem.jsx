/**
 * One notification in a list, with what can be done to it.
 *
 * Rules: the whole item leads to its job. While the focus is in it, U marks it as read or unread, E archives it or moves it back, S
 * opens the moments of a snooze, Delete deletes it, and the arrow keys go to its neighbours.
 */
import { IconButton } from '../../../shared/components/Button.jsx'
import { Icon } from '../../../shared/components/Icon.jsx'
import { JobLink } from '../../../shared/components/JobLink.jsx'
import { jobOf, kindOf } from '../../../shared/components/kinds.js'
import { SafeText } from '../../../shared/components/SafeText.jsx'
import { exactTime, TimeText } from '../../../shared/components/TimeText.jsx'
import { useNow } from '../../../shared/hooks/useNow.js'
import { momentText } from '../moments.js'

function Until({ at }) {
  const now = useNow()
  return (
    <span className="inline-flex items-center gap-1 font-medium text-ink">
      <Icon name="clock" className="size-3.5" />
      <time dateTime={at} title={exactTime(at)}>{momentText(Date.parse(at), now)}</time>
    </span>
  )
}

/** What each place offers, in the order in which it stands: [what, label, icon, key]. */
function offers({ place, isRead }) {
  const read = isRead ? ['unread', 'Mark as unread', 'unread', 'U'] : ['read', 'Mark as read', 'check', 'U']
  if (place === 'snoozed') {
    return [['unsnooze', 'Bring back now', 'inbox', 'E'], ['snooze', 'Snooze to another moment', 'clock', 'S'], ['archive', 'Archive', 'archive', null]]
  }
  if (place === 'archived') return [read, ['unarchive', 'Move to the inbox', 'inbox', 'E']]
  return [read, ['snooze', 'Snooze', 'clock', 'S'], ['archive', 'Archive', 'archive', 'E']]
}

export function InboxItem({ notification, muted, menu, onOpen, onAct }) {
  const { icon, tone } = kindOf(notification)
  const { id, isRead, priority, title, message, place, snoozedUntil } = notification
  const offered = offers(notification)

  const onKeyDown = (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return
    const item = event.currentTarget
    const neighbour = { ArrowDown: item.nextElementSibling, ArrowUp: item.previousElementSibling }[event.key]
    const offer = offered.find(([, , , key]) => key !== null && key.toLowerCase() === event.key.toLowerCase())
    if (neighbour) neighbour.querySelector('[data-main]')?.focus()
    else if (event.key === 'Delete') onAct('delete')
    else if (offer) onAct(offer[0], item.querySelector(`[data-act="${offer[0]}"]`))
    else return
    event.preventDefault()
  }
  return (
    <li data-testid="notification" data-notification-id={id} data-read={isRead} data-place={place} onKeyDown={onKeyDown}
      className={`group relative flex gap-3.5 px-5 pt-4 pb-2 transition-colors hover:bg-sunken ${isRead ? '' : 'bg-accent-soft/45'}`}>
      <span className={`grid size-10 shrink-0 place-items-center rounded-full ${tone}`}>
        <Icon name={icon} className="size-5" />
      </span>
      <div className="min-w-0 flex-1">
        <JobLink id={jobOf(notification)} onOpen={onOpen} data-main=""
          className="focus-ring block w-full rounded-md text-left text-sm leading-snug after:absolute after:inset-0">
          {!isRead && <span className="sr-only">Unread: </span>}
          <SafeText className={isRead ? 'text-ink' : 'font-semibold text-ink'}>{title}</SafeText>
        </JobLink>
        {message && (
          <p className="mt-1 line-clamp-3 text-sm whitespace-pre-line text-ink-2">
            <SafeText links className="[&_a]:relative [&_a]:z-10">{message}</SafeText>
          </p>
        )}
        <div className="mt-0.5 flex flex-wrap items-center justify-between gap-x-2">
          <p className="flex min-h-9 flex-wrap items-center gap-x-2 text-xs text-ink-2">
            {priority === 'CRITICAL' && <span className="font-bold text-danger">Critical</span>}
            {priority === 'HIGH' && <span className="font-semibold text-warn">High</span>}
            {place === 'snoozed' ? <Until at={snoozedUntil} /> : <TimeText at={notification.createdAt} className="relative z-10" />}
            {muted && <span className="inline-flex items-center gap-1"><Icon name="mute" className="size-3.5" /> Muted</span>}
          </p>
          <div className="relative z-10 -mr-2 ml-auto flex">
            {offered.map(([act, label, image, key]) => (
              <IconButton key={act} label={`${label}: ${title}`} title={key === null ? label : `${label} (${key})`} icon={image} data-act={act}
                aria-keyshortcuts={key ?? undefined} aria-haspopup={act === 'snooze' ? 'menu' : undefined} aria-expanded={act === 'snooze' ? menu === 'snooze' : undefined}
                onClick={({ currentTarget }) => onAct(act, currentTarget)}
                className={`size-9! ${act === 'read' ? 'text-accent-text' : ''}`} iconClass={`size-[18px] ${act === 'unread' ? 'fill-current' : ''}`} />
            ))}
            <IconButton label={`More: ${title}`} title="More" icon="dots" data-act="more" aria-haspopup="menu" aria-expanded={menu === 'more'}
              onClick={({ currentTarget }) => onAct('more', currentTarget)} className="size-9!" iconClass="size-[18px] stroke-[3]" />
          </div>
        </div>
      </div>
    </li>
  )
}
