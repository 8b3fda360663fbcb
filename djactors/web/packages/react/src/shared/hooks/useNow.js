/** The current time in ms, for relative times: one timer for all components, at a pace that people do not notice. */
import { useSyncExternalStore } from 'react'

const PACE = 10_000 // ms
const listeners = new Set()
let now = Date.now()
let timer = null

function tick() {
  now = Date.now()
  for (const listener of listeners) listener()
}

function subscribe(listener) {
  if (listeners.size === 0) {
    now = Date.now()
    timer = setInterval(tick, PACE)
  }
  listeners.add(listener)
  return () => {
    listeners.delete(listener)
    if (listeners.size === 0) clearInterval(timer)
  }
}

export const useNow = () => useSyncExternalStore(subscribe, () => now)
