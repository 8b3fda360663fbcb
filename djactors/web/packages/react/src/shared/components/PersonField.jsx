/**
 * Choose a person by name: a field that searches (a combobox, as the ARIA Authoring Practices have it).
 *
 *     <PersonField label="Assignee" value={id} onChange={(id, person) => …} />
 *
 * Rules: it works by the keyboard alone: type, arrows, Enter or Tab to choose, Escape to close. `value` is an id or null, and `name`
 * what the chosen one is called at first. Typing takes the choice back; a name that was typed but not chosen does not
 * pass for a choice. `takesFocus` is for the first field of a dialog; with `many` it is empty again after each choice, for a
 * list; with `anybody` those who have been deactivated can be chosen, too.
 */
import { useEffect, useId, useRef, useState } from 'react'

import { useDjactors } from '../DjactorsContext.js'
import { usePeopleSearch } from '../hooks/usePeople.js'
import { IconButton } from './Button.jsx'
import { Icon } from './Icon.jsx'
import { PeopleOptions } from './PeopleOptions.jsx'
import { Avatar } from './Person.jsx'
import { useOptions } from './useOptions.js'

/** As the schema has it. */
const MAX_NAME = 255

export function PersonField({ label, hint, value, name, onChange, optional = false, takesFocus = false, many = false, anybody = false }) {
  const { client } = useDjactors()
  const id = useId()
  const wrapper = useRef(null)
  const input = useRef(null)
  const [text, setText] = useState(() => (value === null ? '' : (name ?? client.personName(value))))
  const [open, setOpen] = useState(false)
  const query = value === null ? text.trim() : ''
  const search = usePeopleSearch(open ? query : null)
  const close = () => setOpen(false)
  const choose = (person) => {
    setText(many ? '' : person.name)
    onChange(person.id, person)
    close()
    input.current.focus()
  }
  const options = useOptions({ id: `${id}-people`, search, first: query !== '', anybody, choose })

  useEffect(() => {
    input.current.setCustomValidity(value === null && text.trim() !== '' ? 'Choose somebody from the list.' : '')
  }, [value, text])

  const onKeyDown = (event) => {
    if (event.nativeEvent.isComposing) return
    if (!open && ['ArrowDown', 'ArrowUp'].includes(event.key)) {
      event.preventDefault()
      setOpen(true)
    } else if (open && event.key === 'Escape') {
      // The dialog around it stays.
      event.preventDefault()
      close()
    } else if (open) {
      // Not to send the form while somebody is being searched.
      if (event.key === 'Enter') event.preventDefault()
      options.onKeyDown(event)
    }
  }
  const said =
    search.status === 'ready' ? (search.people.length === 0 ? 'Nobody found.' : `${search.people.length}${search.hasMore ? ' or more' : ''} found.`) : ''

  return (
    <div>
      <label htmlFor={id} className="mb-1.5 block text-sm font-medium text-ink">{label}</label>
      <div ref={wrapper} className="relative"
        onBlur={({ relatedTarget }) => {
          if (!wrapper.current.contains(relatedTarget)) close()
        }}>
        <span aria-hidden="true" className="pointer-events-none absolute inset-y-0 left-2.5 grid place-items-center">
          {value === null ? <Icon name="search" className="size-[18px] text-ink-2" /> : <Avatar id={value} name={text} className="size-6 text-[10px]" />}
        </span>
        <input ref={input} id={id} data-autofocus={takesFocus ? '' : undefined} type="text" role="combobox" className="field pr-10! pl-10!" value={text} required={!optional} maxLength={MAX_NAME}
          placeholder="Type a name" autoComplete="off" autoCorrect="off" spellCheck={false}
          aria-autocomplete="list" aria-haspopup="listbox" aria-expanded={open && search.people.length > 0}
          aria-controls={open && search.people.length > 0 ? `${id}-people` : undefined}
          aria-activedescendant={options.activeId} aria-describedby={hint ? `${id}-hint` : undefined}
          onClick={() => setOpen(true)}
          onChange={({ target }) => {
            setText(target.value)
            if (value !== null) onChange(null, null)
            setOpen(true)
          }}
          onKeyDown={onKeyDown} />
        {text !== '' && (
          <IconButton label={`Clear: ${label}`} title="Clear" icon="close" iconClass="size-4" className="absolute! top-1 right-1 size-8!"
            onClick={() => {
              setText('')
              if (value !== null) onChange(null, null)
              close()
              input.current.focus()
            }} />
        )}
        {open && (
          <PeopleOptions anchor={input} id={`${id}-people`} label={label} search={search} anybody={anybody} active={options.active}
            onActive={options.setActive} onChoose={options.choose} />
        )}
        <span role="status" className="sr-only">{open ? said : ''}</span>
      </div>
      {hint && <p id={`${id}-hint`} className="mt-1.5 text-xs text-ink-2">{hint}</p>}
    </div>
  )
}
