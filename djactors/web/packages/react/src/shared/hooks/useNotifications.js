/**
 * The inbox, for components.
 *
 *     const { notifications, unreadCount, markRead } = useNotifications()
 *
 * Rules: what is shown is the store's; what a person does shows at once and rolls back by itself, with a `notice`.
 * A component that only needs a count takes `useUnreadCount` or `useUnseenCount`, and is not rendered for anything else.
 */
import { useEffect, useEffectEvent, useMemo } from 'react'
import { useStore } from 'zustand'

import { useDjactors } from '../DjactorsContext.js'
import { pageOf, visible } from '../stores/inboxPages.js'

export function useNotifications() {
  const { client } = useDjactors()
  const { actions } = client.notifications
  const state = useStore(client.notifications)
  const { items, filter, pages, unreadCount, unseenCount, notice } = state
  const notifications = useMemo(() => visible({ items, filter, pages }), [items, filter, pages])
  const { status, nextBefore, more } = pageOf(state, filter)
  return {
    /** What the list shows, newest first. */
    notifications,
    unreadCount,
    /** How many of the unread ones came since the person last looked into the inbox. */
    unseenCount,
    filter,
    /** idle, loading, ready, error: of the list that `filter` names. */
    status,
    hasMore: nextBefore !== null,
    /** idle, loading, error: of the next page. */
    more,
    /** `{ id, text, undo }` of the last thing that can be undone or was rolled back. */
    notice,
    ...actions,
  }
}

/** @returns {number} */
export function useUnreadCount() {
  const { client } = useDjactors()
  return useStore(client.notifications, ({ unreadCount }) => unreadCount)
}

/** @returns {number} */
export function useUnseenCount() {
  const { client } = useDjactors()
  return useStore(client.notifications, ({ unseenCount }) => unseenCount)
}

/** Call `handler(notification)` for each that arrives live: the place for sounds and the browser's notifications. */
export function useArrivals(handler) {
  const { client } = useDjactors()
  const hear = useEffectEvent(handler)
  useEffect(() => client.notifications.actions.onArrival((notification) => hear(notification)), [client])
}

/**
 * Whether a job is muted, and the way to change that.
 *
 *     const { muted, mute } = useMute(5)
 *
 * @param {number | null} jobId
 */
export function useMute(jobId) {
  const { client } = useDjactors()
  const { actions } = client.mutes
  const muted = useStore(client.mutes, (state) => state.muted[jobId]) ?? null
  useEffect(() => (jobId === null ? undefined : actions.watch(jobId)), [actions, jobId])
  return {
    /** Null until it is known. */
    muted,
    mute: (on) => actions.mute(jobId, on),
  }
}

/** Read what is in the inbox of a job, once it is opened and somebody looks at the page. */
export function useReadJob(jobId) {
  const { client } = useDjactors()
  useEffect(() => {
    if (jobId === null) return undefined
    const { actions } = client.notifications
    const read = () => {
      if (document.hidden) return
      document.removeEventListener('visibilitychange', read)
      void actions.readJob(jobId, { silent: true })
    }
    document.addEventListener('visibilitychange', read)
    read()
    return () => document.removeEventListener('visibilitychange', read)
  }, [client, jobId])
}
