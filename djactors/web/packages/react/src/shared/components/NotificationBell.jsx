/**
 * The bell and the inbox that it opens.
 *
 *     <NotificationBell />
 *
 * Rules: it keeps by itself whether the inbox is open, so that a toast can open the inbox as well. A host that wants to know
 * gives `open` and `onOpenChange`, both or neither.
 */
import { useStore } from 'zustand'

import { useDjactors } from '../DjactorsContext.js'
import { NotificationBadge } from './NotificationBadge.jsx'
import { NotificationPanel } from './NotificationPanel.jsx'

export function NotificationBell({ open, onOpenChange }) {
  const { client } = useDjactors()
  const own = useStore(client.notifications, ({ inboxOpen }) => inboxOpen)
  const shown = open ?? own
  const change = onOpenChange ?? client.notifications.actions.setInboxOpen
  return (
    <>
      <NotificationBadge onClick={() => change(true)} expanded={shown} />
      {shown && <NotificationPanel onClose={() => change(false)} />}
    </>
  )
}
