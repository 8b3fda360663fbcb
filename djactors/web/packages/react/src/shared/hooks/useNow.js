/** The server's time in ms, for relative times: one timer for all components, at a pace that people do not notice. */
import { useSyncExternalStore } from 'react'

import { onCorrection, serverNow } from '../services/clock.js'

const PACE = 10_000 // ms
const listeners = new Set()
let now = serverNow()
let timer = null
let forget = null

function tick() {
  now = serverNow()
  for (const listener of listeners) listener()
}

function subscribe(listener) {
  if (listeners.size === 0) {
    now = serverNow()
    timer = setInterval(tick, PACE)
    forget = onCorrection(tick)
  }
  listeners.add(listener)
  return () => {
    listeners.delete(listener)
    if (listeners.size > 0) return
    clearInterval(timer)
    forget()
  }
}

export const useNow = () => useSyncExternalStore(subscribe, () => now)
