/** Parts of the forms: a labelled field, a choice of a person, and how a form is sent. */
import { useId, useState } from 'react'

import { Button } from '../../../shared/components/Button.jsx'
import { useDjactors } from '../../../shared/DjactorsContext.js'

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

const ANOTHER = 'another'

/** A known person, or anybody by user id. `onChange` gets a number or null. */
export function PersonField({ label, hint, value, onChange, optional = false, ...rest }) {
  const { client } = useDjactors()
  const [another, setAnother] = useState(false)
  // Taken once: a list that moves under the pointer is of no use.
  const [people] = useState(() => client.people())
  const known = people.some(({ id }) => id === value)
  return (
    <Field label={label} hint={hint}>
      {(wiring) => (
        <div className="flex gap-2">
          <select {...wiring} {...rest} className="field" required={!optional}
            value={another || (value !== null && !known) ? ANOTHER : (value ?? '')}
            onChange={({ target }) => {
              setAnother(target.value === ANOTHER)
              onChange(target.value === '' || target.value === ANOTHER ? null : Number(target.value))
            }}>
            <option value="">{optional ? 'Nobody' : 'Choose…'}</option>
            {people.map(({ id, name }) => <option key={id} value={id}>{name}</option>)}
            <option value={ANOTHER}>Somebody else…</option>
          </select>
          {(another || (value !== null && !known)) && (
            <input type="number" min="1" step="1" required inputMode="numeric" aria-label={`${label}: user id`} placeholder="User id"
              className="field max-w-32" value={value ?? ''}
              onChange={({ target }) => onChange(target.value === '' ? null : Number(target.value))} />
          )}
        </div>
      )}
    </Field>
  )
}

/** `datetime-local` has no time zone: the person's own is meant. */
export const localInput = (text) => {
  if (!text) return ''
  const date = new Date(text)
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16)
}
export const fromLocalInput = (value) => (value ? new Date(value).toISOString() : null)

/** A form that shows what went wrong and is closed by what went well. */
export function ActionForm({ submit, label, weight = 'primary', onDone, onCancel, children }) {
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
          setError(refusal.message)
          setBusy(false)
        }
      }}>
      {children}
      {error !== null && (
        <p role="alert" className="rounded-[10px] bg-danger-soft px-3.5 py-2.5 text-sm text-danger">{error}</p>
      )}
      <div className="flex justify-end gap-2 pt-1">
        {onCancel && <Button weight="quiet" onClick={onCancel}>Cancel</Button>}
        <Button type="submit" weight={weight} busy={busy}>{label}</Button>
      </div>
    </form>
  )
}
