/**
 * Tells a server that refuses this page for its Origin from one that is not there. The stock client tries again either
 * way, and says no more of it than "xhr post error" or "websocket error".
 *
 * By polling the client has the server's answer, unless CORS hides it; of a WebSocket, and of what CORS hides, nothing is
 * told to a page. Then it asks itself: by a POST that opens no session, with which browsers always send the Origin; and
 * where CORS hides that answer as well, for the one file that every page may read, so that a proxy that answers in the
 * server's place is not taken for it.
 */

const PROBE = '/socket.io/?EIO=4&transport=polling'
const FOR_EVERY_PAGE = '/socket.io/socket.io.min.js'
/** Engine.IO's code of a refused Origin. */
const FORBIDDEN = 4
const TIMEOUT = 5000 // ms: the next attempt is due by then

const codeOf = (text) => {
  try {
    return JSON.parse(text).code
  } catch {
    return undefined
  }
}

/**
 * @param {Error} error what `connect_error` came with, of an attempt that the client repeats
 * @param {object} options
 * @param {string} [options.url] the server's origin; by default the page's own
 * @param {typeof globalThis.fetch} options.fetch
 * @returns {Promise<boolean>}
 */
export async function isOriginRefused(error, { url, fetch }) {
  const { description, context } = error
  if (description > 0) return description === 403 && codeOf(context?.responseText) === FORBIDDEN
  const here = globalThis.location?.origin
  const { origin } = new URL(url || '/', here)
  const hidden = description === 0 && origin !== here
  if (!hidden && error.message !== 'websocket error') return false

  const ask = (path, method) => fetch(origin + path, { method, cache: 'no-store', credentials: 'omit', signal: AbortSignal.timeout(TIMEOUT) })
  let answer
  try {
    answer = await ask(PROBE, 'POST')
  } catch {
    return ask(FOR_EVERY_PAGE, 'HEAD').then(({ status }) => status < 500, () => false)
  }
  return answer.status === 403 && codeOf(await answer.text().catch(() => '')) === FORBIDDEN
}
