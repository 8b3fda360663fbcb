/** Said when the token is about to end and nobody can fetch another: sign in again, without losing the place. */
import { useState } from 'react'

import { Button } from '#modules/shared/components/Button.jsx'
import { Icon } from '#modules/shared/components/Icon.jsx'
import { Dialog } from '#modules/shared/components/Panel.jsx'
import { TimeText } from '#modules/shared/components/TimeText.jsx'
import { readClaims } from '#modules/shared/services/claims.js'
import { useDjactors } from '#modules/shared/DjactorsContext.js'
import { useSocket } from '#modules/shared/hooks/useSocket.js'
import { consider, samePerson } from './session.js'
import { TokenForm } from './SignIn.jsx'

export function TokenNotice() {
  const { client } = useDjactors()
  const { expiresAt, setToken } = useSocket()
  const [open, setOpen] = useState(false)
  if (expiresAt === null) return null

  const goOn = async (token) => {
    // Somebody else's token: that is asked about first.
    if (samePerson(readClaims(token), client.me)) await setToken(token)
    else consider(token)
    setOpen(false)
  }
  return (
    <div data-testid="token-notice" role="status" className="border-b border-line bg-info-soft text-info">
      <div className="mx-auto flex max-w-6xl flex-wrap items-center justify-between gap-x-4 gap-y-2 px-4 py-2 text-sm sm:px-6">
        <p className="flex items-center gap-2"><Icon name="clock" className="size-[18px]" /><span>Your sign-in ends: <TimeText at={expiresAt} future />.</span></p>
        <Button onClick={() => setOpen(true)} className="min-h-9!">Sign in again</Button>
      </div>
      {open && (
        <Dialog title="Sign in again" onClose={() => setOpen(false)}>
          <p className="mb-4 text-sm text-ink-2">You stay where you are, and connected.</p>
          <TokenForm label="Go on" onToken={goOn} />
        </Dialog>
      )}
    </div>
  )
}
