/**
 * A line about what was done and can be undone, or was rolled back because the server did not take it. It leaves by itself.
 *
 * Rules: while a list of the inbox is open, the line stands in the list (`NoticeBar`), within reach of the keyboard. It stays
 * while the pointer or the keyboard is on it.
 */
import { useEffect, useState } from 'react'
import { useStore } from 'zustand'

import { useDjactors } from '../DjactorsContext.js'
import { announce } from './Announcer.jsx'
import { IconButton } from './Button.jsx'

const STAY = 8000 // ms

/** The line itself; null where there is nothing to say. */
export function NoticeBar({ className = '' }) {
  const { client } = useDjactors()
  const notice = useStore(client.notifications, (state) => state.notice)
  const { dismissNotice, undo } = client.notifications.actions
  const [held, setHeld] = useState(null)
  const id = notice?.id ?? null
  useEffect(() => {
    if (notice !== null) announce(notice.text)
  }, [notice])
  useEffect(() => {
    if (id === null || held === id) return undefined
    const timer = setTimeout(dismissNotice, STAY)
    return () => clearTimeout(timer)
  }, [id, held, dismissNotice])
  if (notice === null) return null
  return (
    <div data-testid="notice" onPointerEnter={() => setHeld(id)} onPointerLeave={() => setHeld(null)} onFocus={() => setHeld(id)} onBlur={() => setHeld(null)}
      className={`pointer-events-auto flex animate-rise items-center gap-2 rounded-xl bg-ink py-1.5 pr-1.5 pl-4 text-sm text-canvas shadow-float ${className}`}>
      <span className="flex-1">{notice.text}</span>
      {notice.undo !== null && (
        <button type="button" onClick={undo} aria-keyshortcuts="Control+Z"
          className="focus-ring min-h-9 rounded-lg px-2.5 font-semibold underline underline-offset-3 hover:bg-ink-2 focus-visible:outline-current!">
          Undo
        </button>
      )}
      <IconButton label="Dismiss" icon="close" iconClass="size-4" onClick={dismissNotice} className="size-9! text-canvas! hover:bg-ink-2!" />
    </div>
  )
}

export function Notice() {
  const { client } = useDjactors()
  const shown = useStore(client.notifications, ({ notice, listShown }) => notice !== null && !listShown)
  if (!shown) return null
  return (
    <section aria-label="What was done" className="pointer-events-none fixed inset-x-3 top-20 z-50 flex justify-center" data-focus-layer="">
      <NoticeBar className="max-w-md" />
    </section>
  )
}
