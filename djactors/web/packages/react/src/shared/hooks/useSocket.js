/**
 * The connection, for components: its state, and the way to emit and to hear.
 *
 *     const { status, emit } = useSocket()
 *     useSocketEvent('job:assigned', ({ djId }) => …)
 *
 * Rules: `status` is idle, connecting, connected, reconnecting or unauthorized. `originRefused` is true while the server
 * refuses the page for its Origin; see `RefusedPage`. `emit` resolves to the server's ack or throws an `ApiError`; it
 * does not queue. A handler hears for as long as its component is mounted.
 */
import { useEffect, useEffectEvent } from 'react'
import { useStore } from 'zustand'

import { useDjactors } from '../DjactorsContext.js'

export function useSocket() {
  const { client } = useDjactors()
  const { status, refusal, originRefused, expiresAt } = useStore(client.socket.state)
  const { emit, retry } = client.socket
  return { status, connected: status === 'connected', refusal, originRefused, expiresAt, emit, retry, setToken: client.setToken }
}

/** Call `handler(data, { offset, live })` for each server event of this name. */
export function useSocketEvent(name, handler) {
  const { client } = useDjactors()
  const hear = useEffectEvent(handler)
  useEffect(() => client.socket.on(name, (data, meta) => hear(data, meta)), [client, name])
}
