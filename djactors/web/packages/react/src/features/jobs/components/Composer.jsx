/**
 * A comment to write. Behind an `@` the people are offered whose name begins so; arrows move, Enter or Tab takes, Escape closes.
 *
 * Rules: whoever was taken from the list is sent by id as long as the name stands in the text, since several people may have one
 * name. What could not be sent stays in the field.
 */
import { useId, useLayoutEffect, useRef, useState } from 'react'

import { announce } from '../../../shared/components/Announcer.jsx'
import { Button } from '../../../shared/components/Button.jsx'
import { PeopleOptions } from '../../../shared/components/PeopleOptions.jsx'
import { Refusal } from '../../../shared/components/Refusal.jsx'
import { useOptions } from '../../../shared/components/useOptions.js'
import { usePeopleSearch } from '../../../shared/hooks/usePeople.js'
import { folded, stillMentioned, typedMention } from '../mentions.js'

/** As the schema has it. */
const MAX_COMMENT = 4000
/** As the server has it. */
const MAX_MENTIONS = 20

export function Composer({ send }) {
  const id = useId()
  const field = useRef(null)
  /** Where the caret goes once the field has its next text, before another key is heard. */
  const caretTo = useRef(null)
  const [text, setText] = useState('')
  const [typed, setTyped] = useState(null)
  const [taken, setTaken] = useState([])
  // `{ at, query }` for which nobody was found, or that was closed: what is typed behind it is no name.
  const [dead, setDead] = useState(null)
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState(null)

  const isDead = typed !== null && dead !== null && dead.at === typed.at && typed.query.startsWith(dead.query)
  const query = typed === null || isDead ? null : typed.query
  const search = usePeopleSearch(query)
  if (query !== null && search.status === 'ready' && search.people.length === 0) setDead(typed)

  /** Look at what is typed at the caret. */
  const look = ({ value, selectionStart, selectionEnd }) => {
    const now = selectionStart === selectionEnd ? typedMention(value, selectionStart) : null
    // A name that was taken is complete.
    const complete = now !== null && taken.some(({ name }) => folded(now.query).startsWith(folded(name)) && now.query.length > name.length)
    setTyped(complete ? null : now)
  }
  const take = (person) => {
    const caret = typed.at + 1 + typed.query.length
    const before = `${text.slice(0, typed.at)}@${person.name}`
    const rest = text.slice(caret)
    setText(`${before}${rest.startsWith(' ') ? '' : ' '}${rest}`)
    setTaken((known) => [...known.filter((each) => each.id !== person.id), { id: person.id, name: person.name }])
    setTyped(null)
    setDead(null)
    // Behind the space.
    caretTo.current = before.length + 1
  }
  const options = useOptions({ id: `${id}-people`, search, first: query !== '', choose: take })
  const waiting = search.status === 'loading'
  const open = query !== null && (waiting ? search.last : search.people).length > 0

  useLayoutEffect(() => {
    if (caretTo.current === null) return
    field.current.setSelectionRange(caretTo.current, caretTo.current)
    caretTo.current = null
  }, [text])

  const submit = async (event) => {
    event.preventDefault()
    const words = text.trim()
    if (words === '' || busy) return
    setBusy(true)
    setError(null)
    try {
      await send(words, stillMentioned(words, taken).slice(0, MAX_MENTIONS).map((person) => person.id))
      setText('')
      setTaken([])
      setTyped(null)
      setDead(null)
      announce('Comment sent.')
    } catch (refusal) {
      setError(refusal)
    } finally {
      setBusy(false)
    }
  }

  const onKeyDown = (event) => {
    if (event.nativeEvent.isComposing) return
    if (event.key === 'Enter' && (event.metaKey || event.ctrlKey)) {
      event.preventDefault()
      event.currentTarget.form.requestSubmit()
    } else if (open && event.key === 'Escape') {
      event.preventDefault()
      setDead(typed)
    } else if (open && (options.onKeyDown(event) || (waiting && event.key === 'Enter'))) {
      event.preventDefault()
    }
  }
  return (
    <form onSubmit={submit} className="rounded-2xl border border-line bg-surface p-4 shadow-card sm:p-5">
      <label htmlFor={id} className="mb-2 block text-sm font-semibold">Comment</label>
      <textarea ref={field} id={id} className="field block min-h-20" maxLength={MAX_COMMENT} value={text} placeholder="Say something. Type @ to mention somebody"
        aria-autocomplete="list" aria-haspopup="listbox" aria-controls={open && !waiting ? `${id}-people` : undefined} aria-activedescendant={open ? options.activeId : undefined}
        onChange={({ target }) => {
          setText(target.value)
          look(target)
        }}
        onSelect={({ target }) => look(target)}
        onBlur={() => setTyped(null)}
        onKeyDown={onKeyDown} />
      {open && (
        <PeopleOptions anchor={field} id={`${id}-people`} label="People to mention" search={search} active={options.active}
          onActive={options.setActive} onChoose={options.choose} />
      )}
      <span role="status" className="sr-only">{open && !waiting ? `${search.people.length} people. Arrows choose one, Enter takes the name.` : ''}</span>
      <Refusal error={error} className="mt-2" />
      <div className="mt-3 flex flex-wrap items-center justify-between gap-3">
        <p className="text-xs text-ink-2">Watchers and mentioned people are notified.</p>
        <Button type="submit" weight="primary" className="ml-auto" busy={busy} disabled={text.trim() === ''}>Send comment</Button>
      </div>
    </form>
  )
}
