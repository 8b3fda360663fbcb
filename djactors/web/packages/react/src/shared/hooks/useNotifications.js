/**
 * The inbox, for components.
 *
 *     const { notifications, unreadCount, markRead } = useNotifications()
 *
 * Rules: what is shown is the store's; reading and deleting show at once and roll back by themselves, with a `notice`.
 * A component that only needs the count takes `useUnreadCount`, and is not rendered for anything else.
 */
import { useEffect, useEffectEvent, useMemo } from 'react'
import { useStore } from 'zustand'

import { useDjactors } from '../DjactorsContext.js'
import { visible } from '../stores/notificationStore.js'

export function useNotifications() {
  const { client } = useDjactors()
  const { actions } = client.notifications
  const state = useStore(client.notifications)
  const { items, filter, pages, unreadCount, notice } = state
  const notifications = useMemo(() => visible({ items, filter, pages }), [items, filter, pages])
  const { status, nextBefore, more } = pages[filter]
  return {
    /** What the list shows, newest first. */
    notifications,
    unreadCount,
    filter,
    /** idle, loading, ready, error: of the list that `filter` names. */
    status,
    hasMore: nextBefore !== null,
    /** idle, loading, error: of the next page. */
    more,
    /** `{ id, text }` of the last thing that was rolled back. */
    notice,
    ...actions,
  }
}

/** @returns {number} */
export function useUnreadCount() {
  const { client } = useDjactors()
  return useStore(client.notifications, ({ unreadCount }) => unreadCount)
}

/** Call `handler(notification)` for each that arrives live: the place for sounds and the browser's notifications. */
export function useArrivals(handler) {
  const { client } = useDjactors()
  const hear = useEffectEvent(handler)
  useEffect(() => client.notifications.actions.onArrival((notification) => hear(notification)), [client])
}
