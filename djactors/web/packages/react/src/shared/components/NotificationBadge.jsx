/**
 * The bell with a count. It shows what `useNotifications` says and opens what its host gives it to open.
 *
 *     <NotificationBadge onClick={() => setOpen(true)} expanded={open} badge="unseen" />
 *
 * Rules: `badge` is `unread`, or `unseen` for what came since the inbox was last open. The accessible name holds the whole
 * count, the picture at most "99+".
 */
import { useUnreadCount, useUnseenCount } from '../hooks/useNotifications.js'
import { Icon } from './Icon.jsx'

export function NotificationBadge({ onClick, expanded, badge = 'unread' }) {
  const unread = useUnreadCount()
  const unseen = useUnseenCount()
  const [count, word] = badge === 'unseen' ? [unseen, 'new'] : [unread, 'unread']
  const label = `Notifications, ${count === 0 ? 'none' : count} ${word}`
  return (
    <button type="button" onClick={onClick} aria-label={label} aria-haspopup="dialog" aria-expanded={expanded}
      data-testid="notification-badge" data-count={count}
      className="focus-ring relative grid size-10 place-items-center rounded-[10px] text-ink-2 transition-colors hover:bg-sunken hover:text-ink">
      <Icon name="bell" className="size-[22px]" />
      {count > 0 && (
        <span key={count} aria-hidden="true"
          className="absolute top-0.5 right-0.5 grid h-[18px] min-w-[18px] animate-pop place-items-center rounded-full bg-danger-fill px-1 text-[11px] leading-none font-bold text-white tabular-nums ring-2 ring-surface">
          {count > 99 ? '99+' : count}
        </span>
      )}
    </button>
  )
}
