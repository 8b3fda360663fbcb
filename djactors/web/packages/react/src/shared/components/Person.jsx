/** A person: initials in a colour of their own, and the name. The colour is decoration; the name is always there. */
import { useStore } from 'zustand'

import { useDjactors } from '../DjactorsContext.js'
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

export function Avatar({ id, name, className = 'size-7 text-[11px]' }) {
  return (
    <span aria-hidden="true"
      className={`grid shrink-0 place-items-center rounded-full font-semibold ${TINTS[(id ?? 0) % TINTS.length]} ${className}`}>
      {initials(name)}
    </span>
  )
}

export function Person({ id, name, nobody = 'Nobody', className = '' }) {
  const { client } = useDjactors()
  // Names come with the jobs.
  useStore(client.jobs, ({ jobs }) => jobs)
  if (id === null || id === undefined) return <span className={`text-ink-2 ${className}`}>{nobody}</span>
  const shown = (id === client.me?.userId ? client.me.name : null) ?? name ?? client.personName(id)
  return (
    <span className={`flex min-w-0 items-center gap-2 ${className}`}>
      <Avatar id={id} name={shown} />
      <SafeText className="truncate">{shown}</SafeText>
      {id === client.me?.userId && <span className="text-xs text-ink-2">you</span>}
    </span>
  )
}
