/**
 * A person: initials in a colour of their own, the name, and whether they are connected now. The colour and the dot are
 * decoration; the name is always there, and the word for the dot is for screen readers.
 */
import { useStore } from 'zustand'

import { useDjactors } from '../DjactorsContext.js'
import { usePresence } from '../hooks/usePeople.js'
import { PresenceDot, presenceWord } from './Presence.jsx'
import { SafeText } from './SafeText.jsx'

const TINTS = [
  'bg-accent-soft text-accent-text',
  'bg-ok-soft text-ok',
  'bg-info-soft text-info',
  'bg-warn-soft text-warn',
  'bg-danger-soft text-danger',
]

export function initials(name) {
  const words = name.trim().split(/\s+/)
  const letters = words.length > 1 ? [words[0], words.at(-1)] : [words[0]]
  return letters.map((word) => [...word][0] ?? '').join('').toUpperCase()
}

export function Avatar({ id, name, connected, className = 'size-7 text-[11px]' }) {
  return (
    <span aria-hidden="true"
      className={`relative grid shrink-0 place-items-center rounded-full font-semibold ${TINTS[(id ?? 0) % TINTS.length]} ${className}`}>
      {initials(name)}
      <PresenceDot connected={connected} className="absolute right-0 bottom-0 ring-2 ring-surface" />
    </span>
  )
}

function Somebody({ id, name, className }) {
  const { client } = useDjactors()
  // Names come with the jobs and with the people.
  useStore(client.jobs, ({ jobs }) => jobs)
  useStore(client.people, ({ names }) => names)
  const me = id === client.me?.userId
  const shown = (me ? client.me.name : null) ?? name ?? client.personName(id)
  const connected = usePresence(id, shown)
  return (
    <span className={`flex min-w-0 items-center gap-2 ${className}`} title={connected === undefined ? undefined : `${shown}, ${presenceWord(connected)}`}>
      <Avatar id={id} name={shown} connected={connected} />
      <SafeText className="truncate">{shown}</SafeText>
      {me && <span className="text-xs text-ink-2">you</span>}
      {connected !== undefined && <span className="sr-only">{presenceWord(connected)}</span>}
    </span>
  )
}

export function Person({ id, name, nobody = 'Nobody', className = '' }) {
  if (id === null || id === undefined) return <span className={`text-ink-2 ${className}`}>{nobody}</span>
  return <Somebody id={id} name={name} className={className} />
}
