/**
 * What the tabs of one browser tell each other: a tab that has just been opened asks for a sign-in, and those that have one
 * answer. By BroadcastChannel: it reaches pages of this origin only, and keeps nothing.
 *
 * Rules: the tab that was looked at last is believed, as a new tab is most likely opened from there. A page that is put into
 * the back/forward cache hears nothing and would be thrown out of it for a message, so it leaves meanwhile.
 */

const NAME = 'djactors.session'
/** ms that a new tab waits for the others: a busy machine's tabs answer in a few dozen. */
const WAIT = 250

let channel = null
let hears = null
let answers = null
let lookedAt = 0

const post = (message) => channel?.postMessage(message)

function take({ data }) {
  switch (data?.kind) {
    case 'ask': {
      const token = hears.current()
      if (token !== null) post({ kind: 'token', token, lookedAt: document.hidden ? lookedAt : Date.now() })
      break
    }
    case 'token':
      if (typeof data.token !== 'string') break
      if (answers) answers.push(data)
      else hears.given(data.token)
      break
    case 'signed-out':
      hears.signedOut(data.person)
      break
  }
}

function open() {
  if (channel !== null || globalThis.BroadcastChannel === undefined) return
  channel = new BroadcastChannel(NAME)
  channel.addEventListener('message', take)
}

function close() {
  channel?.close()
  channel = null
}

/**
 * @param {object} handlers
 * @param {() => string | null} handlers.current the token to give to a tab that asks
 * @param {(token: string) => void} handlers.given
 * @param {(person: { userId: number, tenantId: number }) => void} handlers.signedOut
 */
export function listen(handlers) {
  hears = handlers
  open()
  addEventListener('pagehide', close)
  addEventListener('pageshow', open)
  document.addEventListener('visibilitychange', () => {
    lookedAt = Date.now()
  })
}

/** Ask the other tabs. @returns {Promise<string | null>} the token of the one that was looked at last */
export async function ask() {
  if (channel === null) return null
  answers = []
  post({ kind: 'ask' })
  await new Promise((resolve) => setTimeout(resolve, WAIT))
  // Whatever comes from now on is late, and still good: see `given`.
  const best = answers.sort((one, other) => other.lookedAt - one.lookedAt)[0]
  answers = null
  return best?.token ?? null
}

/** Give a token to the tabs that have none, or an older one of the same person. */
export const offer = (token) => post({ kind: 'token', token, lookedAt: Date.now() })

export const tellSignedOut = ({ userId, tenantId }) => post({ kind: 'signed-out', person: { userId, tenantId } })
