/**
 * A sign-in link that was opened while somebody is signed in: a token of somebody else is asked about first, and what is no
 * good token changes nothing and is only told of.
 */
import { useEffect, useState } from 'react'
import { useStore } from 'zustand'

import { Button, IconButton } from '#modules/shared/components/Button.jsx'
import { Icon } from '#modules/shared/components/Icon.jsx'
import { Dialog } from '#modules/shared/components/Panel.jsx'
import { SafeText } from '#modules/shared/components/SafeText.jsx'
import { useDjactors } from '#modules/shared/DjactorsContext.js'
import { createApi } from '#modules/shared/services/api.js'
import { readClaims } from '#modules/shared/services/claims.js'
import { dismissOffered, samePerson, session, takeOffered } from './session.js'

const REFUSED = {
  not_a_token: 'That link holds no token of a person. You are still signed in.',
  token_invalid: 'The server does not accept the token of that link. You are still signed in.',
}

/** Asks the server; nothing is exchanged for a token that it refuses. */
async function takeIfGood(token) {
  try {
    await createApi({ getToken: () => token }).notifications({ limit: 1 })
  } catch (error) {
    if (error.status !== 401) throw error
    dismissOffered('token_invalid')
    return
  }
  takeOffered()
}

function Refused({ reason }) {
  return (
    <div data-testid="link-notice" role="status" className="border-b border-line bg-info-soft text-info">
      <div className="mx-auto flex max-w-6xl items-center justify-between gap-4 px-4 py-1.5 text-sm sm:px-6">
        <p className="flex items-center gap-2"><Icon name="alert" className="size-[18px]" /><span>{REFUSED[reason] ?? REFUSED.token_invalid}</span></p>
        <IconButton label="Dismiss" icon="close" iconClass="size-4" onClick={() => dismissOffered()} className="text-info!" />
      </div>
    </div>
  )
}

function Question({ token }) {
  const { client } = useDjactors()
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState(null)
  const { me } = client
  const other = readClaims(token)
  const name = other.name ?? `User ${other.userId}`
  const go = async () => {
    setBusy(true)
    setError(null)
    try {
      await takeIfGood(token)
    } catch (failure) {
      setError(failure.message)
      setBusy(false)
    }
  }
  return (
    <Dialog title="Switch to another account?" onClose={() => dismissOffered()} data-testid="switch-account">
      <p className="text-sm text-ink-2">
        The link that you opened signs in <strong className="font-semibold text-ink"><SafeText>{name}</SafeText></strong>
        {other.tenantId !== me.tenantId && ` of tenant ${other.tenantId}`}. In this tab you are signed in as{' '}
        <strong className="font-semibold text-ink"><SafeText>{client.personName(me.userId)}</SafeText></strong>.
      </p>
      {error !== null && <p role="alert" className="mt-4 rounded-[10px] bg-danger-soft px-3.5 py-2.5 text-sm text-danger">{error}</p>}
      <div className="mt-5 flex flex-wrap justify-end gap-2">
        <Button data-autofocus="" onClick={() => dismissOffered()}>Stay signed in</Button>
        <Button weight="primary" busy={busy} onClick={() => void go()}>Switch account</Button>
      </div>
    </Dialog>
  )
}

export function LinkNotice() {
  const { client } = useDjactors()
  const { offered, refused } = useStore(session)
  const own = offered !== null && samePerson(readClaims(offered), client.me)
  useEffect(() => {
    // A link of one's own, such as a fresh one: no question is needed. Without an answer the old token stays.
    if (own) takeIfGood(offered).catch(() => dismissOffered())
  }, [own, offered])
  if (refused !== null) return <Refused reason={refused} />
  return offered === null || own ? null : <Question key={offered} token={offered} />
}
