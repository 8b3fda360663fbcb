/** Who was not notified, of what, and why: of one person or of all, newest first. */
import { useCallback, useState } from 'react'

import { Button } from '../../../shared/components/Button.jsx'
import { Person } from '../../../shared/components/Person.jsx'
import { PersonField } from '../../../shared/components/PersonField.jsx'
import { Empty, Failed, LoadMore, Skeleton } from '../../../shared/components/States.jsx'
import { TimeText } from '../../../shared/components/TimeText.jsx'
import { useDjactors } from '../../../shared/DjactorsContext.js'
import { wordsOf } from '../../../shared/services/refusals.js'
import { useListing } from '../useListing.js'

const PAGE = 10

/** A word of the server's as people write it. */
const said = (word) => String(word).replaceAll('_', ' ')

export function Suppressions() {
  const { client } = useDjactors()
  const [userId, setUser] = useState(null)
  const page = useCallback((before) => client.api.suppressions({ userId, limit: PAGE, before }), [client, userId])
  const list = useListing(page)
  const { items, status, error, hasMore, more } = list
  return (
    <section aria-labelledby="suppressions-heading" data-testid="suppressions">
      <div className="mb-3 flex flex-wrap items-end justify-between gap-3 px-1">
        <h2 id="suppressions-heading" className="text-sm font-semibold">Not notified</h2>
        <div className="flex w-full items-end gap-2 sm:w-96">
          <div className="min-w-0 flex-1"><PersonField label="Of whom" optional value={userId} onChange={setUser} /></div>
          <Button onClick={list.reload}>Reload</Button>
        </div>
      </div>
      <div className="overflow-hidden rounded-2xl border border-line bg-surface shadow-card" aria-busy={status === 'loading'}>
        {status === 'loading' && <Skeleton rows={3} label="Loading who was not notified" />}
        {status === 'error' && <Failed onRetry={list.reload}>This could not be loaded. {wordsOf(error, client.personName)}</Failed>}
        {status === 'ready' && items.length === 0 && <Empty icon="done" title="Nothing was held back">Everybody was notified of what concerns them.</Empty>}
        <ul>
          {items.map((item) => (
            <li key={item.id} data-testid="suppression" className="flex flex-wrap items-center justify-between gap-x-4 gap-y-1 border-b border-line px-5 py-3 text-sm last:border-0">
              <Person id={item.userId} name={item.userName} className="max-w-full" />
              <span className="flex flex-wrap items-baseline gap-x-3 text-ink-2">
                <span>{said(item.type)}: <strong className="font-medium text-ink">{said(item.reason)}</strong></span>
                <TimeText at={item.createdAt} className="text-xs" />
              </span>
            </li>
          ))}
        </ul>
        <LoadMore hasMore={hasMore} more={more} onMore={() => void list.loadMore()} />
      </div>
    </section>
  )
}
