/**
 * Keeps the keyboard inside a panel while it is open, and gives it back to where it came from.
 *
 * Rules: focus goes to the first element with `data-autofocus`, else to the panel itself; Tab goes round; Escape closes the
 * panel that was opened last. What stands in `[data-focus-layer]` (the toasts) is no part of the round, but may be focused.
 */
import { useEffect, useEffectEvent } from 'react'

import { isTopLayer, openLayer } from '../layers.js'

const FOCUSABLE =
  'a[href], button:not([disabled]), input:not([disabled]), select:not([disabled]), textarea:not([disabled]), [tabindex]:not([tabindex="-1"])'

/**
 * @param {import('react').RefObject<HTMLElement>} ref the panel; it needs tabIndex -1
 * @param {() => void} onClose
 */
export function useFocusTrap(ref, onClose) {
  const close = useEffectEvent(onClose)
  useEffect(() => {
    const panel = ref.current
    const before = document.activeElement
    const closeLayer = openLayer(panel)
    const focusable = () => [...panel.querySelectorAll(FOCUSABLE)].filter((element) => element.offsetParent !== null)
    ;(panel.querySelector('[data-autofocus]') ?? panel).focus()

    const onKeyDown = (event) => {
      if (!isTopLayer(panel) || event.defaultPrevented) return
      if (document.activeElement?.closest?.('[data-focus-layer]')) return
      if (event.key === 'Escape') {
        event.preventDefault()
        close()
      } else if (event.key === 'Tab') {
        const elements = focusable()
        const inside = panel.contains(document.activeElement)
        const edge = event.shiftKey ? elements[0] : elements.at(-1)
        if (elements.length === 0 || (inside && document.activeElement !== edge && document.activeElement !== panel)) {
          if (elements.length === 0) event.preventDefault()
          return
        }
        event.preventDefault()
        ;(event.shiftKey ? elements.at(-1) : elements[0]).focus()
      }
    }
    document.addEventListener('keydown', onKeyDown)
    return () => {
      document.removeEventListener('keydown', onKeyDown)
      closeLayer()
      if (before instanceof HTMLElement && before.isConnected) before.focus()
    }
  }, [ref])
}
