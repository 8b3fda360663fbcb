/**
 * A menu beside the button that opened it. It stays inside of the window, above the button where there is no room below.
 *
 *     {anchor && <Menu label="More" anchor={anchor} items={[{ label, icon, hint, tone, onSelect }]} onClose={() => setAnchor(null)} />}
 *
 * Rules: the arrow keys, Home and End go through it, a letter goes to the next item that begins with the letter; Escape and a
 * click beside it close it. Choosing closes it first, so that the focus is back where it was when something is done.
 */
import { useLayoutEffect, useRef, useState } from 'react'

import { useFocusTrap } from '../hooks/useFocusTrap.js'
import { Icon } from './Icon.jsx'

/** px between the menu, its button, and the edges of the window. */
const GAP = 4
const MARGIN = 8

function placeBeside(anchor, menu) {
  const button = anchor.getBoundingClientRect()
  const { width, height } = menu.getBoundingClientRect()
  const below = innerHeight - MARGIN - button.bottom - GAP
  const above = button.top - MARGIN - GAP
  const isBelow = height <= below || below >= above
  const room = isBelow ? below : above
  return {
    left: Math.max(MARGIN, Math.min(button.right - width, innerWidth - MARGIN - width)),
    top: isBelow ? button.bottom + GAP : Math.max(MARGIN, button.top - GAP - Math.min(height, room)),
    maxHeight: Math.max(120, room),
  }
}

export function Menu({ label, anchor, items, onClose }) {
  const ref = useRef(null)
  const [place, setPlace] = useState({ left: 0, top: 0 })
  useFocusTrap(ref, onClose)
  useLayoutEffect(() => {
    const look = () => setPlace(placeBeside(anchor, ref.current))
    look()
    addEventListener('resize', look)
    return () => removeEventListener('resize', look)
  }, [anchor, items.length])

  const onKeyDown = (event) => {
    const all = [...ref.current.querySelectorAll('[role="menuitem"]')]
    const at = all.indexOf(document.activeElement)
    const letter = event.key.length === 1 && !event.ctrlKey && !event.metaKey && !event.altKey ? event.key.toLowerCase() : null
    const from = [...all.slice(at + 1), ...all.slice(0, at + 1)]
    const next = {
      ArrowDown: all[(at + 1) % all.length],
      ArrowUp: all[(Math.max(at, 0) - 1 + all.length) % all.length],
      Home: all[0],
      End: all.at(-1),
    }[event.key] ?? (letter !== null && letter.trim() !== '' ? from.find((item) => item.textContent.toLowerCase().startsWith(letter)) : undefined)
    if (next === undefined) return
    event.preventDefault()
    event.stopPropagation()
    next.focus()
  }

  return (
    <div className="fixed inset-0 z-50" data-testid="menu-layer">
      <div className="absolute inset-0" onClick={onClose} aria-hidden="true" />
      <div ref={ref} role="menu" aria-label={label} tabIndex={-1} style={place} onKeyDown={onKeyDown} data-testid="menu"
        className="fixed w-64 max-w-[calc(100vw-1rem)] animate-fade overflow-y-auto overscroll-contain rounded-xl border border-line bg-raised p-1.5 shadow-float outline-none">
        {items.map(({ label: text, icon, hint, tone, onSelect }, number) => (
          <button key={text} type="button" role="menuitem" tabIndex={-1} data-autofocus={number === 0 ? '' : undefined}
            onClick={() => {
              onClose()
              onSelect()
            }}
            className={`focus-ring flex min-h-10 w-full items-center gap-3 rounded-lg px-2.5 py-2 text-left text-sm -outline-offset-2! hover:bg-sunken focus:bg-sunken ${tone === 'danger' ? 'text-danger' : 'text-ink'}`}>
            <Icon name={icon} className="size-[18px]" />
            <span className="flex-1">{text}</span>
            {hint && <span className="text-xs text-ink-2">{hint}</span>}
          </button>
        ))}
      </div>
    </div>
  )
}
