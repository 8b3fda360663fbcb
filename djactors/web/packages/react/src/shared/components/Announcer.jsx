/**
 * Says things to screen readers: `announce(text)` politely, `announce(text, 'assertive')` at once. One `<Announcer />` stands
 * in the page from the start, since a live region that comes with its text is often not read.
 */
import { useEffect, useState } from 'react'

const listeners = new Set()

export function announce(text, urgency = 'polite') {
  for (const listener of listeners) listener(urgency, text)
}

export function Announcer() {
  const [said, setSaid] = useState({ polite: [], assertive: [] })
  useEffect(() => {
    let key = 0
    const listener = (urgency, text) => {
      key += 1
      // What came just before stays a moment, so that two at once are both read.
      setSaid((before) => ({ ...before, [urgency]: [...before[urgency].slice(-2), { key, text }] }))
    }
    listeners.add(listener)
    return () => listeners.delete(listener)
  }, [])
  return (
    <div className="sr-only">
      <div role="status" aria-live="polite" aria-atomic="false" data-testid="announce-polite">
        {said.polite.map(({ key, text }) => <p key={key}>{text}</p>)}
      </div>
      <div role="alert" aria-live="assertive" aria-atomic="false" data-testid="announce-assertive">
        {said.assertive.map(({ key, text }) => <p key={key}>{text}</p>)}
      </div>
    </div>
  )
}
