/**
 * One Socket.IO connection to a djactors server, with the stock client.
 *
 * Rules:
 *  - Handlers get `(data, { offset, live })`. `live` is false for what is replayed: from a connect until the first
 *    unread count after it. Toasts are for what is live.
 *  - A reconnect resumes where the connection broke (the client sends its pid and the last offset); a first connect
 *    resumes from `getSince()`, the offset of the lists that were loaded.
 *  - `emit` resolves to the server's ack or throws an `ApiError`. It does not queue: without a connection it fails with
 *    `offline`, so that an optimistic change rolls back at once.
 *  - A token that is about to end is replaced on the open connection, if the host can `refreshToken()`.
 *  - A refused token ends the attempts: status `unauthorized`, until `setToken`.
 *  - A refused Origin does not, as others can mend it meanwhile: `originRefused` is true until a connect.
 */
import { io as connectStock } from 'socket.io-client'
import { createStore } from 'zustand/vanilla'

import { ApiError } from './api.js'
import { isOriginRefused } from './refusedOrigin.js'

/** How long an ack may take, in ms. The server answers a command within 15 s. */
const ACK_TIMEOUT = 20_000
/** Backoff between attempts, in ms: quick at first, and not so slow that people reload the page. */
const BACKOFF = { reconnectionDelay: 400, reconnectionDelayMax: 5000, randomizationFactor: 0.5 }

const UNREAD_COUNT = 'notification:unread-count'

/**
 * @param {object} options
 * @param {string} [options.url] the server's origin; by default the page's own
 * @param {() => string} options.getToken
 * @param {() => (string | undefined)} [options.getSince]
 * @param {() => Promise<string>} [options.refreshToken] the host's way to a fresh token of the same user
 * @param {(token: string) => void} [options.onToken] told of each fresh token
 * @param {typeof connectStock} [options.io] for tests, like `fetch`
 * @param {typeof globalThis.fetch} [options.fetch]
 */
export function createSocketService({ url, getToken, getSince = () => undefined, refreshToken, onToken, io = connectStock, fetch = (...request) => globalThis.fetch(...request) }) {
  /** `status`: idle, connecting, connected, reconnecting, unauthorized. `expiresAt`: set while the token is ending. */
  const state = createStore(() => ({ status: 'idle', refusal: null, originRefused: false, recovered: false, expiresAt: null }))
  const handlers = new Map()
  const connectHandlers = new Set()
  let socket = null
  let live = false
  let lastOffset
  let since
  let refreshing = null
  // Of failed attempts: what is found out about one is of no use once there was another, or a connect.
  let attempt = 0

  const tell = (name, data, meta) => {
    for (const handler of handlers.get(name) ?? []) handler(data, meta)
  }

  function hear(name, ...args) {
    const last = args.length > 1 ? args[args.length - 1] : undefined
    const offset = typeof last === 'string' ? last : undefined
    if (offset !== undefined) lastOffset = offset
    // The count closes the replay; what comes after it is news.
    const meta = { offset, live }
    if (name === UNREAD_COUNT) live = true
    if (name === 'auth:expiring') void expiring(args[0])
    tell(name, args[0], meta)
  }

  function refuse(code) {
    state.setState({ status: 'unauthorized', refusal: code })
  }

  async function freshToken() {
    refreshing ??= Promise.resolve()
      .then(refreshToken)
      .finally(() => {
        refreshing = null
      })
    const token = await refreshing
    onToken?.(token)
    return token
  }

  async function expiring({ expiresAt } = {}) {
    state.setState({ expiresAt: expiresAt ?? null })
    if (!refreshToken) return
    try {
      await service.setToken(await freshToken())
    } catch {
      // Said by `expiresAt`, which stays: the page asks to sign in again.
    }
  }

  async function refused(error) {
    // A transport error: the client tries again by itself. Only a refused CONNECT has data.
    if (socket.active) {
      state.setState(({ status }) => ({ status: status === 'connected' ? 'reconnecting' : status }))
      const mine = ++attempt
      const originRefused = await isOriginRefused(error, { url, fetch })
      if (mine === attempt) state.setState({ originRefused })
      return
    }
    const code = error.data?.code ?? 'unauthorized'
    if (code !== 'token_expired' || !refreshToken) return refuse(code)
    try {
      await freshToken()
      socket?.connect()
    } catch {
      refuse(code)
    }
  }

  const service = {
    /** A Zustand store; see `useSocket`. */
    state,

    /** Connect, once. Without a token nothing happens. */
    connect() {
      if (socket !== null || !getToken()) return
      state.setState({ status: 'connecting', refusal: null })
      socket = io(url || undefined, {
        ...BACKOFF,
        // A function: each attempt takes the token and the offset of its own moment.
        auth: (send) => {
          since = lastOffset ?? getSince()
          send({ token: getToken(), ...(since === undefined ? {} : { since }) })
        },
        forceNew: true,
      })
      socket.on('connect', () => {
        live = false
        attempt += 1
        const { recovered } = socket
        state.setState({ status: 'connected', refusal: null, originRefused: false, recovered })
        for (const handler of connectHandlers) handler({ recovered, since })
      })
      socket.on('disconnect', (reason) => {
        live = false
        const ended = reason === 'io client disconnect'
        state.setState(({ status }) => ({ status: ended || status === 'unauthorized' ? status : 'reconnecting' }))
        // The server ended the namespace: the stock client waits to be told.
        if (reason === 'io server disconnect') socket.connect()
      })
      socket.on('connect_error', refused)
      socket.onAny(hear)
    },

    /** Leave, for good or until `connect`. */
    disconnect() {
      socket?.offAny(hear)
      socket?.removeAllListeners()
      socket?.disconnect()
      socket = null
      live = false
      lastOffset = undefined
      attempt += 1
      state.setState({ status: 'idle', refusal: null, originRefused: false, recovered: false, expiresAt: null })
    },

    /** Try again now instead of after the backoff: the network is back. */
    retry() {
      if (!socket?.connected) service.restart()
    },

    /**
     * Drop the connection, whatever it says of itself, and make another at once, which goes on where this one was. For a page
     * that was frozen: the browser has ended its requests without telling the client, which would notice only when the
     * server's next ping stays out.
     */
    restart() {
      const { status } = state.getState()
      if (socket === null || !['connected', 'reconnecting', 'connecting'].includes(status)) return
      const next = status === 'connecting' ? status : 'reconnecting'
      socket.disconnect()
      socket.connect()
      state.setState({ status: next })
    },

    /** Drop what is known of the stream; the next connect starts from `getSince()`. */
    forgetOffset() {
      lastOffset = undefined
    },

    /** Emit, and wait for the ack. `at` is the offset of what had come before the ack. */
    async emit(name, payload = {}) {
      if (!socket?.connected) throw new ApiError('offline', 'There is no connection to the server right now.')
      let answer
      try {
        answer = await new Promise((resolve, reject) => {
          // With long polling, what came behind the ack is heard before whoever waits here goes on.
          const take = (ack) => resolve(ack && { ...ack, at: lastOffset })
          socket.timeout(ACK_TIMEOUT).emit(name, payload, (error, ack) => (error ? reject(error) : take(ack)))
        })
      } catch {
        throw new ApiError('offline', 'The server did not answer.')
      }
      if (answer?.ok) return answer
      const { code = 'internal', message = 'The server refused.' } = answer?.error ?? {}
      throw new ApiError(code, message)
    },

    /** Hear of an event. @returns {() => void} stops it */
    on(name, handler) {
      if (!handlers.has(name)) handlers.set(name, new Set())
      handlers.get(name).add(handler)
      return () => handlers.get(name)?.delete(handler)
    },

    /** Hear of each connect: `{ recovered, since }`. @returns {() => void} stops it */
    onConnect(handler) {
      connectHandlers.add(handler)
      return () => connectHandlers.delete(handler)
    },

    /** Go on with another token of the same user: on the open connection, or by connecting again. */
    async setToken(token) {
      if (socket?.connected) {
        await service.emit('auth:refresh', { token })
      } else if (socket !== null && state.getState().status === 'unauthorized') {
        state.setState({ status: 'reconnecting', refusal: null })
        socket.connect()
      }
      state.setState({ expiresAt: null })
    },
  }
  return service
}
