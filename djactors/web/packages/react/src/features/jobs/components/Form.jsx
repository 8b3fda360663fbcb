/** Parts of the forms: a labelled field, and how a form is sent. */
import { useId, useState } from 'react'

import { Button } from '../../../shared/components/Button.jsx'
import { Refusal } from '../../../shared/components/Refusal.jsx'

export function Field({ label, hint, children }) {
  const id = useId()
  return (
    <div>
      <label htmlFor={id} className="mb-1.5 block text-sm font-medium text-ink">{label}</label>
      {children({ id, 'aria-describedby': hint ? `${id}-hint` : undefined })}
      {hint && <p id={`${id}-hint`} className="mt-1.5 text-xs text-ink-2">{hint}</p>}
    </div>
  )
}

/** `datetime-local` has no time zone: the person's own is meant. */
export const localInput = (text) => {
  if (!text) return ''
  const date = new Date(text)
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16)
}
export const fromLocalInput = (value) => (value ? new Date(value).toISOString() : null)

/** A form that shows what went wrong and is closed by what went well. `dismiss` is the word for leaving it as it is. */
export function ActionForm({ submit, label, dismiss = 'Cancel', weight = 'primary', onDone, onCancel, children }) {
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState(null)
  return (
    <form className="space-y-4"
      onSubmit={async (event) => {
        event.preventDefault()
        setBusy(true)
        setError(null)
        try {
          onDone(await submit())
        } catch (refusal) {
          setError(refusal)
          setBusy(false)
        }
      }}>
      {children}
      <Refusal error={error} />
      <div className="flex justify-end gap-2 pt-1">
        {onCancel && <Button weight="quiet" onClick={onCancel}>{dismiss}</Button>}
        <Button type="submit" weight={weight} busy={busy}>{label}</Button>
      </div>
    </form>
  )
}
