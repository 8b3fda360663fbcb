/**
 * Where toasts may stand so that they do not cover what is being done: at the bottom of the window, at its top, or nowhere
 * for now.
 *
 * Rules: they wait while a panel is open. Otherwise the bottom is their place; the top is, where at the bottom they would cover
 * the form or the field that has the focus; and where they would cover it at both ends, they wait until it has been left.
 */
import { useLayoutEffect, useState } from 'react'
import { useStore } from 'zustand'

import { layers } from '../layers.js'

/** px between the toasts and the edge of the window, and from its top to below the bar. */
const MARGIN = 20
const TOP = 72
/**
 * px of a toast with the room below it. They are not measured: what waits cannot be, and an answer that depended on what is
 * shown would go back and forth.
 */
const EACH = 130
/** px below which a window shows the two newest only, as `NotificationToast` has it. */
const NARROW = 640

/** px that so many toasts take. */
export const heightOf = (count) => EACH * (globalThis.innerWidth < NARROW ? Math.min(count, 2) : count)

/** What is being done: a whole form, for its buttons are needed as well; null for a mere place, such as a heading. */
function atWork(region) {
  const focused = document.activeElement
  if (focused === null || focused === document.body || region.contains(focused)) return null
  if (focused.matches('[tabindex="-1"]')) return null
  return focused.closest('form') ?? focused
}

const overlap = (one, other) => one.left < other.right && other.left < one.right && one.top < other.bottom && other.top < one.bottom

/** @returns {'bottom' | 'top' | 'wait'} for toasts of this width and height */
export function placeFor({ width, height, left, work, windowHeight }) {
  if (work === null) return 'bottom'
  const at = (top) => ({ left, right: left + width, top, bottom: top + height })
  if (!overlap(at(windowHeight - MARGIN - height), work)) return 'bottom'
  return overlap(at(TOP), work) ? 'wait' : 'top'
}

function look(region, count) {
  const { width, left } = region.getBoundingClientRect()
  const work = atWork(region)?.getBoundingClientRect() ?? null
  return placeFor({ width, left, height: heightOf(count), work, windowHeight: globalThis.innerHeight })
}

/**
 * @param {import('react').RefObject<HTMLElement>} region the toasts
 * @param {number} count how many there are
 */
export function useToastPlace(region, count) {
  const covered = useStore(layers, ({ panels }) => panels.length > 0)
  const [place, setPlace] = useState('bottom')
  useLayoutEffect(() => {
    if (covered || count === 0) return undefined
    const again = () => setPlace(look(region.current, count))
    again()
    const names = ['focusin', 'focusout', 'scroll', 'resize']
    // After the browser has moved the focus: for a moment nothing has it.
    let frame = 0
    const later = () => {
      cancelAnimationFrame(frame)
      frame = requestAnimationFrame(again)
    }
    for (const name of names) addEventListener(name, later, { passive: true })
    return () => {
      cancelAnimationFrame(frame)
      for (const name of names) removeEventListener(name, later)
    }
  }, [region, covered, count])
  return covered ? 'wait' : place
}
