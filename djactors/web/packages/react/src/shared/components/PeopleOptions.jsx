/**
 * The people to choose from, below the field that is typed in: its listbox. The focus stays in the field, which names the
 * active option (`aria-activedescendant`).
 *
 * Rules: it stands in the browser's top layer, where no dialog cuts it off, below the field or above it, whichever has
 * the room. While there is no answer the people of the last one stay to be seen, but cannot be chosen. Who has been
 * deactivated is shown and cannot be chosen.
 */
import { useLayoutEffect, useRef } from 'react'
import { useStore } from 'zustand'

import { useDjactors } from '../DjactorsContext.js'
import { wordsOf } from '../services/refusals.js'
import { Button } from './Button.jsx'
import { Avatar } from './Person.jsx'
import { presenceWord } from './Presence.jsx'
import { SafeText } from './SafeText.jsx'

/** px */
const TALLEST = 320
const ENOUGH = 200
const GAP = 4

const ROLES = { user: 'User', manager: 'Manager', admin: 'Admin', service: 'Service' }
export const roleOf = ({ role }) => ROLES[role] ?? role

function Option({ id, person, anybody, isActive, onActive, onChoose }) {
  const { client } = useDjactors()
  const connected = useStore(client.people, (state) => state.connected.get(person.id)) ?? person.connected
  const ref = useRef(null)
  useLayoutEffect(() => {
    if (isActive) ref.current.scrollIntoView?.({ block: 'nearest' })
  }, [isActive])
  const left = person.active === false && !anybody
  const facts = [roleOf(person), person.active === false ? 'deactivated' : presenceWord(connected)].filter(Boolean).join(', ')
  return (
    <li ref={ref} id={id} role="option" aria-selected={isActive} aria-disabled={left || undefined} data-person-id={person.id}
      onPointerMove={onActive}
      onClick={() => onChoose(person)}
      className={`flex min-h-11 items-center gap-3 rounded-lg px-2.5 py-1.5 ${left ? 'cursor-not-allowed' : 'cursor-pointer'} ${isActive ? 'bg-accent-soft' : ''}`}>
      <Avatar id={person.id} name={person.name} connected={left ? undefined : connected} className={`size-8 text-xs ${left ? 'opacity-50 grayscale' : ''}`} />
      <span className="min-w-0 flex-1 leading-tight">
        <SafeText className={`block truncate text-sm font-medium ${left ? 'text-ink-2 line-through' : 'text-ink'}`}>{person.name}</SafeText>
        <span className="text-xs text-ink-2">{facts}</span>
      </span>
      {person.id === client.me?.userId && <span className="text-xs text-ink-2">you</span>}
    </li>
  )
}

function place(box, anchor) {
  const { left, top, bottom, width } = anchor.getBoundingClientRect()
  const view = globalThis.visualViewport
  const start = view?.offsetTop ?? 0
  const end = start + (view?.height ?? innerHeight)
  const below = end - bottom - 2 * GAP
  const above = top - start - 2 * GAP
  const up = below < ENOUGH && above > below
  Object.assign(box.style, {
    left: `${left}px`,
    width: `${width}px`,
    maxHeight: `${Math.max(80, Math.min(TALLEST, up ? above : below))}px`,
    top: up ? 'auto' : `${bottom + GAP}px`,
    bottom: up ? `${document.documentElement.clientHeight - top + GAP}px` : 'auto',
  })
}

/**
 * @param {object} props
 * @param {import('react').RefObject<HTMLElement>} props.anchor the field
 * @param {string} props.id of the listbox; an option's is `${id}-0` and so on
 * @param {string} props.label
 * @param {ReturnType<typeof import('../hooks/usePeople.js').usePeopleSearch>} props.search
 * @param {boolean} [props.anybody] whether somebody who has been deactivated can be chosen
 * @param {number} props.active the place of the active option, or -1
 */
export function PeopleOptions({ anchor, id, label, search, anybody, active, onActive, onChoose }) {
  const { client } = useDjactors()
  const box = useRef(null)
  const { people, last, status, hasMore, error, retry } = search
  const waiting = status === 'loading'

  useLayoutEffect(() => {
    const element = box.current
    const again = () => place(element, anchor.current)
    element.showPopover?.()
    again()
    addEventListener('scroll', again, { capture: true, passive: true })
    addEventListener('resize', again)
    const view = globalThis.visualViewport
    view?.addEventListener('resize', again)
    return () => {
      removeEventListener('scroll', again, { capture: true })
      removeEventListener('resize', again)
      view?.removeEventListener('resize', again)
    }
  }, [anchor])

  return (
    <div ref={box} popover="manual" data-testid="people-options" aria-busy={waiting}
      // The field keeps the focus, whatever is pressed here.
      onMouseDown={(event) => event.preventDefault()}
      className="fixed inset-auto z-50 m-0 flex flex-col overflow-hidden rounded-xl border border-line bg-raised p-1.5 text-left text-ink shadow-float">
      {people.length > 0 && (
        <ul id={id} role="listbox" aria-label={label} className="min-h-0 overflow-y-auto overscroll-contain">
          {people.map((person, at) => (
            <Option key={person.id} id={`${id}-${at}`} person={person} anybody={anybody} isActive={at === active} onActive={() => onActive(at)} onChoose={onChoose} />
          ))}
        </ul>
      )}
      {waiting && last.length > 0 && (
        <div aria-hidden="true" inert className="opacity-50">
          {last.map((person) => (
            <div key={person.id} className="flex min-h-11 items-center gap-3 px-2.5 py-1.5">
              <Avatar id={person.id} name={person.name} className="size-8 text-xs" />
              <SafeText className="truncate text-sm font-medium">{person.name}</SafeText>
            </div>
          ))}
        </div>
      )}
      {waiting && last.length === 0 && <p className="px-2.5 py-2.5 text-sm text-ink-2">Searching…</p>}
      {status === 'ready' && people.length === 0 && <p className="px-2.5 py-2.5 text-sm text-ink-2">Nobody has a name that begins so.</p>}
      {hasMore && <p className="px-2.5 py-2 text-xs text-ink-2">There are more. Type more of the name.</p>}
      {status === 'error' && (
        <div className="flex flex-wrap items-center justify-between gap-2 px-2.5 py-2 text-sm text-danger">
          <p role="alert">{wordsOf(error, client.personName)}</p>
          <Button onClick={retry}>Try again</Button>
        </div>
      )}
    </div>
  )
}
