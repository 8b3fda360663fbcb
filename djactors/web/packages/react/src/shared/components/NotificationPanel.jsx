/**
 * The inbox: a sheet with the lists (inbox, snoozed, archived), searched and filtered, and all that can be done to what is in them.
 *
 *     {open && <NotificationPanel onClose={() => setOpen(false)} />}
 *
 * Rules: while it is open, what it shows is seen. A click on a notification reads it and, where it has a job, leads there. What
 * leaves the list leaves the focus with its neighbour. Ctrl+Z undoes what the notice speaks of. Closing it ends a search, but
 * `unread` stays chosen.
 */
import { useEffect, useEffectEvent, useRef, useState } from 'react'
import { useStore } from 'zustand'

import { InboxFilters } from '../../features/inbox/components/InboxFilters.jsx'
import { InboxItem } from '../../features/inbox/components/InboxItem.jsx'
import { MoreMenu, SnoozeDialog, snoozedText, SnoozeMenu } from '../../features/inbox/components/InboxMenus.jsx'
import { useDjactors } from '../DjactorsContext.js'
import { useNotifications } from '../hooks/useNotifications.js'
import { EVERYTHING, isNarrowed } from '../stores/inboxEvents.js'
import { Button } from './Button.jsx'
import { jobOf } from './kinds.js'
import { NoticeBar } from './Notice.jsx'
import { Sheet } from './Panel.jsx'
import { Segments } from './Segments.jsx'
import { Empty, Failed, LoadMore, Skeleton } from './States.jsx'

const VIEWS = [
  ['inbox', 'Inbox'],
  ['snoozed', 'Snoozed'],
  ['archived', 'Archived'],
]
const NOTHING = {
  inbox: ['inbox', 'Nothing here yet', 'When a job concerns you, you will hear of it here the moment it happens.'],
  snoozed: ['clock', 'Nothing is snoozed', 'What you snooze waits here, and comes back unread at its moment.'],
  archived: ['archive', 'The archive is empty', 'What you have dealt with can wait here, out of your way.'],
}
const CAUGHT_UP = ['done', 'All caught up', 'You have read everything. What is new will show up here by itself.']
/** What takes a notification out of its list. */
const LEAVING = new Set(['archive', 'unarchive', 'snooze', 'unsnooze', 'delete'])

function useEveryKey(handler) {
  const hear = useEffectEvent(handler)
  useEffect(() => {
    const listener = (event) => hear(event)
    document.addEventListener('keydown', listener)
    return () => document.removeEventListener('keydown', listener)
  }, [])
}

export function NotificationPanel({ onClose }) {
  const { client, openJob } = useDjactors()
  const inbox = useNotifications()
  const muted = useStore(client.mutes, (state) => state.muted)
  const items = useStore(client.notifications, (state) => state.items)
  const list = useRef(null)
  /** `{ kind: 'more' | 'snooze', id, anchor }`, or `{ kind: 'choose', id }`. */
  const [opened, setOpened] = useState(null)
  const { notifications, filter, status, load, setFilter, watchList, look } = inbox
  const narrowed = isNarrowed(filter)

  useEffect(() => watchList(), [watchList])
  useEffect(() => {
    document.addEventListener('visibilitychange', look)
    return () => document.removeEventListener('visibilitychange', look)
  }, [look])
  useEffect(() => () => setFilter({ ...EVERYTHING, unread: client.notifications.getState().filter.unread }), [setFilter, client])

  useEffect(() => {
    if (status === 'idle') load(filter).catch(() => {})
  }, [status, load, filter])

  useEveryKey((event) => {
    const typing = event.target.closest?.('input, textarea, select')
    if (event.key.toLowerCase() === 'z' && (event.ctrlKey || event.metaKey) && !event.shiftKey && !typing && inbox.undo()) event.preventDefault()
  })

  /** Do something that takes an item away, and leave the focus with its neighbour. */
  const focusNeighbour = (id, act) => {
    const all = [...(list.current?.children ?? [])]
    const place = all.findIndex((item) => item.dataset.notificationId === String(id))
    const neighbour = all[place + 1] ?? all[place - 1]
    act()
    requestAnimationFrame(() => {
      if (document.activeElement !== document.body && document.activeElement?.isConnected) return
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

  const act = (notification, what, anchor) => {
    const { id } = notification
    const job = jobOf(notification)
    const acts = {
      read: () => void inbox.markRead(id),
      unread: () => void inbox.markUnread(id),
      archive: () => void inbox.archive(id),
      unarchive: () => void inbox.unarchive(id),
      unsnooze: () => void inbox.unsnooze(id),
      delete: () => void inbox.remove(id),
      readJob: () => void inbox.readJob(job),
      onlyJob: () => setFilter({ job }),
      mute: () => void client.mutes.actions.mute(job, true),
      unmute: () => void client.mutes.actions.mute(job, false),
      more: () => setOpened({ kind: 'more', id, anchor }),
      snooze: () => setOpened({ kind: 'snooze', id, anchor: anchor ?? opened?.anchor }),
    }
    if (what !== 'snooze' && LEAVING.has(what)) focusNeighbour(id, acts[what])
    // Unread ones leave a list of the unread.
    else if (what === 'read' && filter.unread) focusNeighbour(id, acts[what])
    else acts[what]()
  }
  const snooze = (notification, moment) =>
    focusNeighbour(notification.id, () => void inbox.snooze(notification.id, new Date(moment).toISOString(), snoozedText(moment)))

  const header = <Segments label="Show" options={VIEWS} value={filter.view} onChange={(view) => setFilter({ view })} className="mt-3 [&_label]:flex-1" />
  const current = opened === null ? undefined : items.find(({ id }) => id === opened.id)
  const close = () => setOpened(null)
  const nothing = status === 'ready' && notifications.length === 0
  const [icon, title, words] = filter.unread && filter.view === 'inbox' ? CAUGHT_UP : NOTHING[filter.view]
  const found = `${notifications.length}${inbox.hasMore ? ' or more' : ''} found`
  return (
    <Sheet title="Notifications" header={header} onClose={onClose} data-testid="inbox" footer={<div className="empty:hidden px-3 pb-3"><NoticeBar /></div>}>
      <InboxFilters filter={filter} items={items} onChange={setFilter} unreadCount={inbox.unreadCount} onReadAll={() => void inbox.markAllRead()} />
      <p role="status" className="sr-only">
        {narrowed && status === 'ready' && inbox.more !== 'loading' && (nothing ? 'Nothing found' : found)}
      </p>
      {status === 'error' && <Failed onRetry={() => load(filter).catch(() => {})}>Your notifications could not be loaded.</Failed>}
      {(status === 'loading' || status === 'idle') && <Skeleton rows={6} label={narrowed ? 'Searching' : 'Loading notifications'} />}
      {nothing && inbox.more === 'loading' && <Skeleton rows={3} label="Searching" />}
      {nothing && inbox.more !== 'loading' && narrowed && (
        <Empty icon="search" title={inbox.hasMore ? 'Nothing found so far' : 'Nothing found'}>
          <p>{inbox.hasMore ? 'The newest ones were searched. There are older ones.' : 'Nothing here is like that.'}</p>
          <Button weight="quiet" className="mt-2" onClick={() => setFilter({ ...EVERYTHING, view: filter.view })}>Show everything</Button>
        </Empty>
      )}
      {nothing && !narrowed && !inbox.hasMore && <Empty icon={icon} title={title}>{words}</Empty>}
      <ol ref={list} className="divide-y divide-line">
        {status === 'ready' &&
          notifications.map((notification) => (
            <InboxItem key={notification.id} notification={notification} muted={muted[jobOf(notification)] === true}
              menu={opened?.id === notification.id ? opened.kind : null}
              onOpen={() => open(notification)} onAct={(what, anchor) => act(notification, what, anchor)} />
          ))}
      </ol>
      {status === 'ready' && !(nothing && inbox.more === 'loading') && (
        <LoadMore hasMore={inbox.hasMore} more={inbox.more} onMore={inbox.loadMore} label={narrowed ? 'Search older ones' : undefined} />
      )}
      {status === 'ready' && !inbox.hasMore && notifications.length > 0 && (
        <p className="border-t border-line px-5 py-6 text-center text-xs text-ink-2">Notifications are kept for 30 days.</p>
      )}
      {current && opened.kind === 'more' && (
        <MoreMenu notification={current} anchor={opened.anchor} onAct={(what) => act(current, what)} onClose={close} />
      )}
      {current && opened.kind === 'snooze' && (
        <SnoozeMenu key="snooze" notification={current} anchor={opened.anchor} onClose={close} onSnooze={(moment) => snooze(current, moment)}
          onChoose={() => setOpened({ kind: 'choose', id: current.id })} />
      )}
      {current && opened.kind === 'choose' && (
        <SnoozeDialog notification={current} onClose={close} onSnooze={(moment) => snooze(current, moment)} />
      )}
    </Sheet>
  )
}
