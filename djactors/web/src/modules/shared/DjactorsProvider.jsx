/**
 * Gives the modules what they take from their host: the server's address, a token, and where a job is shown.
 *
 *     <DjactorsProvider url="https://notify.example" token={jwt} onOpenJob={(id) => navigate(`/jobs/${id}`)}>
 *       <TopBar /> … <NotificationToasts />
 *     </DjactorsProvider>
 *
 * Rules: it connects when it is mounted and disconnects when it is unmounted. Another token of the same person goes to
 * the open connection; another person's, or another address, makes everything anew. `refreshToken` is asked for a fresh
 * token shortly before the old one ends, and `onToken` is told of it.
 */
import { useEffect, useEffectEvent, useMemo, useRef } from 'react'

import { DjactorsContext } from './DjactorsContext.js'
import { readClaims } from './services/claims.js'
import { createDjactors } from './services/client.js'

/**
 * @param {object} props
 * @param {string} [props.url] the server's origin; by default the page's own
 * @param {string} props.token
 * @param {() => Promise<string>} [props.refreshToken]
 * @param {(token: string) => void} [props.onToken]
 * @param {(jobId: number) => void} [props.onOpenJob]
 * @param {{ id: number, name: string }[]} [props.people] names for ids
 * @param {Function} [props.create] for tests: makes the client
 */
export function DjactorsProvider({ url = '', token, refreshToken, onToken, onOpenJob, people, create = createDjactors, children }) {
  const claims = readClaims(token)
  const person = claims && `${claims.tenantId}:${claims.userId}:${claims.role}`
  const refresh = useRef(refreshToken)
  const tell = useRef(onToken)
  useEffect(() => {
    refresh.current = refreshToken
    tell.current = onToken
  })
  const canRefresh = refreshToken !== undefined

  const client = useMemo(
    () =>
      create({
        url,
        token,
        people,
        refreshToken: canRefresh ? () => refresh.current() : undefined,
        onToken: (fresh) => tell.current?.(fresh),
      }),
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

  const openJob = useEffectEvent((id) => onOpenJob?.(id))
  const value = useMemo(() => ({ client, openJob: (id) => openJob(id) }), [client])
  return <DjactorsContext value={value}>{children}</DjactorsContext>
}
