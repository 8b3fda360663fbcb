/** Signing in: with a token, or with a link that holds one. */
import { useState } from 'react'

import { Brand } from '#modules/core/layout/TopBar.jsx'
import { Button } from '#modules/shared/components/Button.jsx'
import { readClaims } from '#modules/shared/services/claims.js'
import { signIn, tokenIn } from './session.js'

const REASONS = {
  token_expired: 'Your sign-in has ended. Sign in again to go on where you were.',
  token_invalid: 'The server did not accept that token.',
  token_revoked: 'You were signed out. Sign in again to go on where you were.',
  user_deactivated: 'Your account has been deactivated. Ask an admin if that is wrong.',
  not_a_token: 'That link holds no token of a person.',
  signed_out: 'You are signed out.',
}

/** Asks for a token and checks that it is one of a person. `onToken` may reject; what it says is shown. */
export function TokenForm({ label, onToken }) {
  const [text, setText] = useState('')
  const [error, setError] = useState(null)
  const [busy, setBusy] = useState(false)
  const submit = async (event) => {
    event.preventDefault()
    const token = tokenIn(text)
    if (token === null || readClaims(token) === null) {
      setError('That is no token of a person. It has three parts with dots between them, or is a link that ends in one.')
      return
    }
    setBusy(true)
    setError(null)
    try {
      await onToken(token)
    } catch (refusal) {
      setError(refusal.message)
      setBusy(false)
    }
  }
  return (
    <form onSubmit={submit} className="space-y-4">
      <div>
        <label htmlFor="token" className="mb-1.5 block text-sm font-medium">Token or sign-in link</label>
        <textarea id="token" data-autofocus="" className="field min-h-24 font-mono text-xs! break-all" value={text} required spellCheck="false"
          autoCapitalize="off" autoComplete="off" aria-invalid={error !== null} aria-describedby={error === null ? undefined : 'token-error'}
          onChange={({ target }) => setText(target.value)}
          onKeyDown={(event) => {
            if (event.key !== 'Enter') return
            event.preventDefault()
            event.currentTarget.form.requestSubmit()
          }} />
        {error !== null && <p id="token-error" role="alert" className="mt-2 text-sm text-danger">{error}</p>}
      </div>
      <Button type="submit" weight="primary" busy={busy} className="w-full">{label}</Button>
    </form>
  )
}

export function SignIn({ reason, asking }) {
  // For the moment in which other tabs are asked: most likely the page follows, and a form that flashes is of no use.
  if (asking) {
    return (
      <main className="grid min-h-dvh place-items-center px-4 py-10" aria-busy="true">
        <h1 className="sr-only">Signing in</h1>
        <Brand />
      </main>
    )
  }
  return (
    <main data-testid="sign-in" className="grid min-h-dvh place-items-center px-4 py-10">
      <div className="w-full max-w-[420px] animate-rise">
        <Brand className="mb-8 justify-center" />
        <div className="rounded-2xl border border-line bg-surface p-6 shadow-card sm:p-8">
          <h1 className="text-xl font-semibold tracking-tight">Sign in</h1>
          <p className="mt-1.5 mb-6 text-sm text-ink-2">See what concerns you the moment it happens.</p>
          {reason && (
            <p role="status" className="mb-5 rounded-[10px] bg-info-soft px-3.5 py-2.5 text-sm text-info">
              {REASONS[reason] ?? 'The server did not let you in. Sign in again.'}
            </p>
          )}
          <TokenForm label="Sign in" onToken={signIn} />
        </div>
        <p className="mt-6 text-center text-xs leading-relaxed text-ink-2">
          <code className="rounded bg-sunken px-1 py-0.5">djactors demo</code> prints a link for each of its people;{' '}
          <code className="rounded bg-sunken px-1 py-0.5">djactors token</code> makes a token.
        </p>
      </div>
    </main>
  )
}
