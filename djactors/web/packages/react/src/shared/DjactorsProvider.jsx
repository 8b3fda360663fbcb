/**
 * Gives the modules what they take from their host: the server's address, a token, and where a job is shown.
 *
 *     <DjactorsProvider url="https://notify.example" token={jwt} onOpenJob={(id) => navigate(`/jobs/${id}`)} jobHref={(id) => `/jobs/${id}`}>
 *       <TopBar /> … <NotificationToasts />
 *     </DjactorsProvider>
 *
 * Rules: it connects when it is mounted and disconnects when it is unmounted. Another token of the same person goes to
 * the open connection; another person's, or another address, makes everything anew. `refreshToken` is asked for a fresh
 * token shortly before the old one ends, and `onToken` is told of it.
 */
import { useEffect, useMemo, useRef, useState } from 'react'

import { DjactorsContext } from './DjactorsContext.js'
import { readClaims } from './services/claims.js'
import { createDjactors } from './services/client.js'

/** The host's functions as they are now, behind functions that stay the same. */
function hostCallbacks() {
  let now = {}
  return {
    become(next) {
      now = next
    },
    refreshToken: () => now.refreshToken(),
    onToken: (token) => now.onToken?.(token),
    onOpenJob: (id) => now.onOpenJob?.(id),
  }
}

/**
 * @param {object} props
 * @param {string} [props.url] the server's origin; by default the page's own
 * @param {string} props.token
 * @param {() => Promise<string>} [props.refreshToken]
 * @param {(token: string) => void} [props.onToken]
 * @param {(jobId: number) => void} [props.onOpenJob]
 * @param {(jobId: number) => string} [props.jobHref] a job's address: with it, what leads to a job is a link.
 *   Best the same function at every render, as what it gives is drawn
 * @param {{ id: number, name: string }[]} [props.people] names for ids
 * @param {Function} [props.create] for tests: makes the client
 * @param {import('react').ReactNode} [props.children]
 */
export function DjactorsProvider({ url = '', token, refreshToken, onToken, onOpenJob, jobHref, people, create = createDjactors, children }) {
  const claims = readClaims(token)
  const person = claims && `${claims.tenantId}:${claims.userId}:${claims.role}`
  // What the host gives may be another function at every render; the client keeps to these.
  const [host] = useState(hostCallbacks)
  useEffect(() => host.become({ refreshToken, onToken, onOpenJob }))
  const canRefresh = refreshToken !== undefined

  const client = useMemo(
    () => create({ url, token, people, refreshToken: canRefresh ? host.refreshToken : undefined, onToken: host.onToken }),
    // A fresh token of the same person is no reason to start over.
    // eslint-disable-next-line react-hooks/exhaustive-deps
    [url, person, canRefresh, people, create],
  )

  useEffect(() => {
    client.start()
    return () => client.stop()
  }, [client])

  const known = useRef(token)
  useEffect(() => {
    if (known.current !== token && readClaims(token) !== null) client.setToken(token).catch(() => {})
    known.current = token
  }, [client, token])

  const value = useMemo(() => ({ client, openJob: host.onOpenJob, jobHref }), [client, host, jobHref])
  return <DjactorsContext value={value}>{children}</DjactorsContext>
}
