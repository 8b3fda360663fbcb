/**
 * The bell and the inbox that it opens.
 *
 *     <NotificationBell />
 *
 * Rules: it keeps by itself whether the inbox is open, so that a toast can open the inbox as well. A host that wants to know
 * gives `open` and `onOpenChange`, both or neither. `badge` is what the bell counts: `unread` or `unseen`.
 * The inbox is a part of its own of the page, fetched once the browser has nothing else to do, so that the page is there sooner.
 */
import { useEffect, useState } from 'react'
import { useStore } from 'zustand'

import { useDjactors } from '../DjactorsContext.js'
import { NotificationBadge } from './NotificationBadge.jsx'
import { Sheet } from './Panel.jsx'
import { Failed, Skeleton } from './States.jsx'

/** ms after which it is fetched where a browser does not tell when it is idle. */
const UNTIL_IDLE = 1000

let Inbox = null
let fetching = null

/** Resolves once the inbox is there; rejects where it could not be fetched, and can be called again then. */
function fetchInbox() {
  fetching ??= import('./NotificationPanel.jsx').then(
    (part) => {
      Inbox = part.NotificationPanel
    },
    (error) => {
      fetching = null
      throw error
    },
  )
  return fetching
}

function fetchWhenIdle() {
  const start = () => fetchInbox().catch(() => {})
  if (globalThis.requestIdleCallback === undefined) {
    const timer = setTimeout(start, UNTIL_IDLE)
    return () => clearTimeout(timer)
  }
  const request = requestIdleCallback(start)
  return () => cancelIdleCallback(request)
}

function OpenInbox({ onClose }) {
  const [state, setState] = useState(Inbox === null ? 'fetching' : 'there')
  useEffect(() => {
    if (state !== 'fetching') return undefined
    let gone = false
    const become = (next) => () => gone || setState(next)
    fetchInbox().then(become('there'), become('failed'))
    return () => {
      gone = true
    }
  }, [state])
  if (state === 'there') return <Inbox onClose={onClose} />
  return (
    <Sheet title="Notifications" onClose={onClose}>
      {state === 'failed' ? (
        <Failed onRetry={() => setState('fetching')}>The inbox could not be fetched. If trying again does not help, reload the page.</Failed>
      ) : (
        <Skeleton rows={6} label="Loading the inbox" />
      )}
    </Sheet>
  )
}

export function NotificationBell({ open, onOpenChange, badge }) {
  const { client } = useDjactors()
  const own = useStore(client.notifications, ({ inboxOpen }) => inboxOpen)
  const shown = open ?? own
  const change = onOpenChange ?? client.notifications.actions.setInboxOpen
  useEffect(() => fetchWhenIdle(), [])
  return (
    <>
      <NotificationBadge onClick={() => change(true)} expanded={shown} badge={badge} />
      {shown && <OpenInbox onClose={() => change(false)} />}
    </>
  )
}
