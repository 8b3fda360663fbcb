/** A line about something that was undone because the server did not take it. It leaves by itself. */
import { useEffect } from 'react'
import { useStore } from 'zustand'

import { useDjactors } from '../DjactorsContext.js'
import { announce } from './Announcer.jsx'
import { IconButton } from './Button.jsx'

const STAY = 8000 // ms

export function Notice() {
  const { client } = useDjactors()
  const notice = useStore(client.notifications, (state) => state.notice)
  const { dismissNotice } = client.notifications.actions
  useEffect(() => {
    if (notice === null) return undefined
    announce(notice.text)
    const timer = setTimeout(dismissNotice, STAY)
    return () => clearTimeout(timer)
  }, [notice, dismissNotice])
  if (notice === null) return null
  return (
    <section aria-label="Undone" className="pointer-events-none fixed inset-x-3 top-20 z-50 flex justify-center" data-focus-layer="">
      <div data-testid="notice" className="pointer-events-auto flex max-w-md animate-rise items-center gap-2 rounded-xl bg-ink py-1.5 pr-1.5 pl-4 text-sm text-canvas shadow-float">
        <span>{notice.text}</span>
        <IconButton label="Dismiss" icon="close" iconClass="size-4" onClick={dismissNotice} className="size-8! text-canvas! hover:bg-ink-2!" />
      </div>
    </section>
  )
}
