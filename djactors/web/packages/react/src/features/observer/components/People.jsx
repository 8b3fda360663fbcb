/** The people of the tenant, by name, for an admin: who is there, and the way to deactivate who has left. */
import { useCallback, useState } from 'react'

import { announce } from '../../../shared/components/Announcer.jsx'
import { Button } from '../../../shared/components/Button.jsx'
import { Icon } from '../../../shared/components/Icon.jsx'
import { Dialog } from '../../../shared/components/Panel.jsx'
import { roleOf } from '../../../shared/components/PeopleOptions.jsx'
import { Person } from '../../../shared/components/Person.jsx'
import { Refusal } from '../../../shared/components/Refusal.jsx'
import { Empty, Failed, LoadMore, Skeleton } from '../../../shared/components/States.jsx'
import { useDjactors } from '../../../shared/DjactorsContext.js'
import { wordsOf } from '../../../shared/services/refusals.js'
import { useListing } from '../useListing.js'

const PAGE = 10
const DEBOUNCE = 200 // ms

function ActiveDialog({ person, onDone, onClose }) {
  const { client } = useDjactors()
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState(null)
  const { id, name, active } = person
  const word = active ? 'Deactivate' : 'Activate'
  const act = async () => {
    setBusy(true)
    setError(null)
    try {
      const answer = await (active ? client.api.deactivate(id) : client.api.activate(id))
      announce(`${name} is ${answer.active ? 'active' : 'deactivated'}.`)
      onDone(answer.active)
    } catch (refusal) {
      setError(refusal)
      setBusy(false)
    }
  }
  return (
    <Dialog title={`${word} ${name}?`} onClose={onClose} data-testid="active-dialog">
      <p className="text-sm text-ink-2">
        {active
          ? 'They are signed out everywhere and not notified any more, and nobody can give them new work. Their jobs and comments stay.'
          : 'They can sign in again, are notified, and can be given work.'}
      </p>
      <Refusal error={error} className="mt-3" />
      <div className="mt-5 flex justify-end gap-2">
        <Button weight="quiet" data-autofocus="" onClick={onClose}>Cancel</Button>
        <Button weight={active ? 'danger' : 'primary'} busy={busy} onClick={() => void act()}>{word}</Button>
      </div>
    </Dialog>
  )
}

export function People() {
  const { client } = useDjactors()
  const [query, setQuery] = useState('')
  const [asked, setAsked] = useState(null)
  const words = query.trim()
  const page = useCallback((before) => client.people.actions.search(words, { limit: PAGE, before }), [client, words])
  const list = useListing(page, words === '' ? 0 : DEBOUNCE)
  const { items, status, error, hasMore, more } = list
  return (
    <section aria-labelledby="people-heading" data-testid="people">
      <div className="mb-3 flex flex-wrap items-center justify-between gap-3 px-1">
        <h2 id="people-heading" className="text-sm leading-10 font-semibold">People</h2>
        <label className="relative block w-full sm:w-72">
          <span className="sr-only">Search people</span>
          <Icon name="search" className="pointer-events-none absolute top-2.5 left-2.5 size-[18px] text-ink-2" />
          <input type="search" className="field pl-10!" value={query} placeholder="Search by name" autoComplete="off" onChange={({ target }) => setQuery(target.value)} />
        </label>
      </div>
      <div className="overflow-hidden rounded-2xl border border-line bg-surface shadow-card" aria-busy={status === 'loading'}>
        {status === 'loading' && <Skeleton rows={3} label="Loading people" />}
        {status === 'error' && <Failed onRetry={list.reload}>The people could not be loaded. {wordsOf(error, client.personName)}</Failed>}
        {status === 'ready' && items.length === 0 && <Empty icon="user" title="Nobody found">Nobody has a name that begins so.</Empty>}
        <ul>
          {items.map((person) => (
            <li key={person.id} data-testid="person" data-person-id={person.id} data-active={person.active}
              className="flex flex-wrap items-center justify-between gap-x-4 gap-y-1 border-b border-line px-5 py-2.5 text-sm last:border-0">
              <div className="min-w-0 flex-1">
                <Person id={person.id} name={person.name} className={person.active ? '' : 'text-ink-2'} />
                <span className="block pl-9 text-xs text-ink-2">{person.active ? roleOf(person) : `${roleOf(person)}, deactivated`}</span>
              </div>
              {person.id !== client.me?.userId && (
                <Button weight="quiet" aria-label={`${person.active ? 'Deactivate' : 'Activate'} ${person.name}`} onClick={() => setAsked(person)}>
                  {person.active ? 'Deactivate' : 'Activate'}
                </Button>
              )}
            </li>
          ))}
        </ul>
        <LoadMore hasMore={hasMore} more={more} onMore={() => void list.loadMore()} />
      </div>
      {asked !== null && (
        <ActiveDialog person={asked} onClose={() => setAsked(null)}
          onDone={(active) => {
            list.amend(asked.id, { active })
            setAsked(null)
          }} />
      )}
    </section>
  )
}
