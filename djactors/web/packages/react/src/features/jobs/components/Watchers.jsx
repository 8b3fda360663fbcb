/** Who watches a job. A manager or an admin adds others and takes them off. */
import { useState } from 'react'

import { announce } from '../../../shared/components/Announcer.jsx'
import { IconButton } from '../../../shared/components/Button.jsx'
import { Icon } from '../../../shared/components/Icon.jsx'
import { Dialog } from '../../../shared/components/Panel.jsx'
import { Person } from '../../../shared/components/Person.jsx'
import { PersonField } from '../../../shared/components/PersonField.jsx'
import { Refusal } from '../../../shared/components/Refusal.jsx'
import { useDjactors } from '../../../shared/DjactorsContext.js'
import { labelOf } from '../moves.js'
import { ActionForm } from './Form.jsx'

/** Watchers named one by one; the rest is a number. */
const NAMED_WATCHERS = 8

function AddDialog({ job, move, onClose }) {
  const [userId, setUser] = useState(null)
  return (
    <Dialog title={`A watcher of ${labelOf(job)}`} onClose={onClose} data-testid="watch-dialog">
      <ActionForm label="Add watcher" submit={() => move('watch', { userId })} onDone={onClose} onCancel={onClose}>
        <PersonField label="Watcher" value={userId} onChange={setUser} takesFocus hint="They are notified of comments." />
      </ActionForm>
    </Dialog>
  )
}

export function Watchers({ job, move, mayName }) {
  const { client } = useDjactors()
  const [adding, setAdding] = useState(false)
  const [error, setError] = useState(null)
  const { watcherIds, watchers = watcherIds.map((id) => ({ id })) } = job
  const takeOff = async ({ id, name }) => {
    setError(null)
    try {
      await move('unwatch', { userId: id })
      announce(`${name ?? client.personName(id)} no longer watches it.`)
    } catch (refusal) {
      setError(refusal)
    }
  }
  return (
    <div className="border-t border-line py-4">
      <div className="mb-2 flex min-h-9 items-center justify-between gap-2">
        <h2 className="flex items-center gap-2 text-sm text-ink-2"><Icon name="eye" className="size-4" /> Watchers</h2>
        {mayName && <IconButton label="Add a watcher" icon="plus" iconClass="size-[18px]" className="-mr-2 size-9!" onClick={() => setAdding(true)} />}
      </div>
      {watcherIds.length === 0 ? (
        <p className="text-sm text-ink-2">Nobody watches it.</p>
      ) : (
        <ul aria-label="Watchers" className="space-y-2 text-sm">
          {watchers.slice(0, NAMED_WATCHERS).map((watcher) => (
            <li key={watcher.id} className="flex min-h-8 items-center justify-between gap-2">
              <Person id={watcher.id} name={watcher.name} />
              {mayName && watcher.id !== client.me?.userId && (
                <IconButton label={`Remove ${watcher.name ?? client.personName(watcher.id)} from the watchers`} title="Remove" icon="close" iconClass="size-4" className="-mr-2 size-9!"
                  onClick={() => void takeOff(watcher)} />
              )}
            </li>
          ))}
          {watcherIds.length > NAMED_WATCHERS && <li className="text-ink-2">and {watcherIds.length - NAMED_WATCHERS} more</li>}
        </ul>
      )}
      <Refusal error={error} className="mt-3" />
      {adding && <AddDialog job={job} move={move} onClose={() => setAdding(false)} />}
    </div>
  )
}
