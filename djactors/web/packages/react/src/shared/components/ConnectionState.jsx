/**
 * How the connection is, said calmly: nothing to see while it is well, a quiet word when it has been gone for a moment.
 * What was missed comes by itself once it is back.
 */
import { useEffect, useRef, useState } from 'react'

import { useSocket } from '../hooks/useSocket.js'
import { announce } from './Announcer.jsx'

/** ms that a connection may be gone before it is worth a word: most come back sooner. */
const PATIENCE = 1500

function useOnline() {
  const [online, setOnline] = useState(() => navigator.onLine)
  useEffect(() => {
    const look = () => setOnline(navigator.onLine)
    addEventListener('online', look)
    addEventListener('offline', look)
    return () => {
      removeEventListener('online', look)
      removeEventListener('offline', look)
    }
  }, [])
  return online
}

/** live, connecting (for the first time), waiting (gone, but not yet worth a word), reconnecting, refused, offline. */
export function useCalmConnection() {
  const { status, originRefused } = useSocket()
  const online = useOnline()
  const connected = status === 'connected'
  const [late, setLate] = useState(false)
  const [stood, setStood] = useState(connected)
  if (connected && !stood) setStood(true)
  useEffect(() => {
    if (connected) return undefined
    const timer = setTimeout(() => setLate(true), PATIENCE)
    return () => {
      clearTimeout(timer)
      setLate(false)
    }
  }, [connected])
  if (connected) return 'live'
  if (originRefused && online) return 'refused'
  if (!late) return stood ? 'waiting' : 'connecting'
  return online ? 'reconnecting' : 'offline'
}

const WORDS = {
  live: ['Live', 'Connected: changes show as they happen'],
  connecting: ['Connecting…', 'Connecting'],
  waiting: ['Live', 'Connecting again'],
  reconnecting: ['Reconnecting…', 'Reconnecting; what you miss meanwhile will be there'],
  refused: ['Refused', 'The server refuses this page'],
  offline: ['Offline', 'You are offline; what you miss meanwhile will be there'],
}

const CALM = new Set(['live', 'connecting', 'waiting'])

export function ConnectionState() {
  const state = useCalmConnection()
  const { status } = useSocket()
  const was = useRef('live')
  useEffect(() => {
    if (state === 'waiting' || state === 'connecting') return
    // A refusal is an alert of its own: see `RefusedPage`.
    if (state !== was.current && state !== 'refused') announce(state === 'live' ? 'Connected again.' : WORDS[state][1])
    was.current = state
  }, [state])
  const [text, title] = WORDS[state]
  const calm = CALM.has(state)
  return (
    <span title={title} data-testid="connection-state" data-state={state === 'refused' ? 'refused' : status}
      className={`inline-flex h-8 items-center gap-2 rounded-full px-2.5 text-xs font-medium transition-colors ${calm ? 'text-ink-2' : 'bg-warn-soft text-warn'}`}>
      <span aria-hidden="true" className="relative grid size-2.5 place-items-center">
        <span className={`size-2 rounded-full ${state === 'live' ? 'bg-ok' : calm ? 'bg-line-strong' : 'animate-breathe bg-warn'}`} />
      </span>
      <span className={calm ? 'max-sm:sr-only' : ''}>{text}</span>
    </span>
  )
}
