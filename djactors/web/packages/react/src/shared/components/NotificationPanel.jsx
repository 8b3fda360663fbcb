/**
 * The inbox: a sheet with the list, paged, all or unread, with read, read-all, delete, and the way to the job.
 *
 *     {open && <NotificationPanel onClose={() => setOpen(false)} />}
 *
 * Rules: a click on a notification reads it and, where it has a job, leads there. Deleting moves the focus to the next.
 */
import { useEffect, useRef } from 'react'

import { useDjactors } from '../DjactorsContext.js'
import { useNotifications } from '../hooks/useNotifications.js'
import { Button, IconButton } from './Button.jsx'
import { Icon } from './Icon.jsx'
import { JobLink } from './JobLink.jsx'
import { jobOf, kindOf } from './kinds.js'
import { Sheet } from './Panel.jsx'
import { SafeText } from './SafeText.jsx'
import { Segments } from './Segments.jsx'
import { Empty, Failed, LoadMore, Skeleton } from './States.jsx'
import { TimeText } from './TimeText.jsx'

const FILTERS = [
  ['all', 'All'],
  ['unread', 'Unread'],
]

function Item({ notification, onOpen, onRead, onDelete }) {
  const { icon, tone } = kindOf(notification)
  const { isRead, priority } = notification
  const job = jobOf(notification)
  return (
    <li data-testid="notification" data-notification-id={notification.id} data-read={isRead}
      className={`group relative flex gap-3.5 px-5 py-4 transition-colors hover:bg-sunken ${isRead ? '' : 'bg-accent-soft/45'}`}>
      <span className={`grid size-10 shrink-0 place-items-center rounded-full ${tone}`}>
        <Icon name={icon} className="size-5" />
      </span>
      <div className="min-w-0 flex-1">
        <JobLink id={job} onOpen={onOpen} data-main=""
          className="focus-ring block w-full rounded-md text-left text-sm leading-snug after:absolute after:inset-0">
          {!isRead && <span className="sr-only">Unread: </span>}
          <SafeText className={isRead ? 'text-ink' : 'font-semibold text-ink'}>{notification.title}</SafeText>
        </JobLink>
        {notification.message && (
          <p className="mt-1 line-clamp-3 text-sm whitespace-pre-line text-ink-2">
            <SafeText links className="[&_a]:relative [&_a]:z-10">{notification.message}</SafeText>
          </p>
        )}
        <p className="mt-1.5 flex flex-wrap items-center gap-x-2 text-xs text-ink-2">
          {priority === 'CRITICAL' && <span className="font-bold text-danger">Critical</span>}
          {priority === 'HIGH' && <span className="font-semibold text-warn">High</span>}
          <TimeText at={notification.createdAt} className="relative z-10" />
          {job !== null && <span className="font-medium text-accent-text">Open job</span>}
        </p>
      </div>
      <div className="relative z-10 -mr-2 flex flex-col items-center">
        {!isRead && (
          <IconButton label={`Mark as read: ${notification.title}`} title="Mark as read" icon="check" onClick={onRead}
            className="size-9! text-accent-text" iconClass="size-[18px]" />
        )}
        <IconButton label={`Delete: ${notification.title}`} title="Delete" icon="trash" onClick={onDelete}
          className="size-9!" iconClass="size-[18px]" />
      </div>
    </li>
  )
}

export function NotificationPanel({ onClose }) {
  const { openJob } = useDjactors()
  const inbox = useNotifications()
  const list = useRef(null)
  const { notifications, filter, status, unreadCount, load, watchList } = inbox

  useEffect(() => watchList(), [watchList])

  useEffect(() => {
    if (status === 'idle') load(filter).catch(() => {})
  }, [status, load, filter])

  /** Do something that takes an item away, and leave the focus with its neighbour. */
  const focusNeighbour = (id, act) => {
    const items = [...(list.current?.children ?? [])]
    const place = items.findIndex((item) => item.dataset.notificationId === String(id))
    const hadFocus = items[place]?.contains(document.activeElement)
    const neighbour = items[place + 1] ?? items[place - 1]
    void act(id)
    if (!hadFocus) return
    requestAnimationFrame(() => {
      if (document.activeElement !== document.body) return
      const target = neighbour?.isConnected ? neighbour.querySelector('[data-main]') : null
      ;(target ?? document.querySelector('[role="dialog"]'))?.focus()
    })
  }

  const open = (notification) => {
    const job = jobOf(notification)
    void inbox.markRead(notification.id)
    if (job !== null) {
      onClose()
      openJob(job)
    }
  }

  const header = (
    <div className="mt-3 flex items-center justify-between gap-2">
      <Segments label="Show" name="inbox-filter" options={FILTERS} value={filter} onChange={inbox.setFilter} />
      <Button weight="quiet" icon="checks" disabled={unreadCount === 0} onClick={() => void inbox.markAllRead()} className="-mr-2 px-2.5">
        Mark all as read
      </Button>
    </div>
  )
  return (
    <Sheet title="Notifications" header={header} onClose={onClose} data-testid="inbox">
      {status === 'error' && <Failed onRetry={() => load(filter).catch(() => {})}>Your notifications could not be loaded.</Failed>}
      {(status === 'loading' || status === 'idle') && <Skeleton rows={6} label="Loading notifications" />}
      {status === 'ready' && notifications.length === 0 && !inbox.hasMore && (
        <Empty icon={filter === 'unread' ? 'done' : 'inbox'} title={filter === 'unread' ? 'All caught up' : 'Nothing here yet'}>
          {filter === 'unread'
            ? 'You have read everything. What is new will show up here by itself.'
            : 'When a job concerns you, you will hear of it here the moment it happens.'}
        </Empty>
      )}
      <ol ref={list} className="divide-y divide-line">
        {status === 'ready' &&
          notifications.map((notification) => (
            <Item key={notification.id} notification={notification} onOpen={() => open(notification)}
              onRead={() => focusNeighbour(notification.id, inbox.markRead)}
              onDelete={() => focusNeighbour(notification.id, inbox.remove)} />
          ))}
      </ol>
      {status === 'ready' && <LoadMore hasMore={inbox.hasMore} more={inbox.more} onMore={inbox.loadMore} />}
      {status === 'ready' && !inbox.hasMore && notifications.length > 0 && (
        <p className="border-t border-line px-5 py-6 text-center text-xs text-ink-2">Notifications are kept for 30 days.</p>
      )}
    </Sheet>
  )
}
