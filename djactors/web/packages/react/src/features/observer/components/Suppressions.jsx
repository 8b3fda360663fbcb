/** Of what somebody was not notified, and why, newest first. */
import { useCallback, useState } from 'react'

import { PersonField } from '../../../shared/components/PersonField.jsx'
import { Person } from '../../../shared/components/Person.jsx'
import { Empty, Failed, LoadMore, Skeleton } from '../../../shared/components/States.jsx'
import { TimeText } from '../../../shared/components/TimeText.jsx'
import { useDjactors } from '../../../shared/DjactorsContext.js'
import { wordsOf } from '../../../shared/services/refusals.js'
import { useListing } from '../useListing.js'

const PAGE = 10

const REASONS = {
  actor: 'they did it themselves',
  daily_limit: 'the daily limit was reached',
  persons_limit: 'the share of what people cause was used up',
  persons_critical_limit: 'people had caused too many urgent ones',
  deactivated: 'they are deactivated',
  late: 'the news came too late',
  muted: 'they have muted the job',
}

/** A word of the server's as people write it; a backend has types of its own. */
const said = (word) => String(word).replaceAll('_', ' ')

function List({ userId }) {
  const { client } = useDjactors()
  const page = useCallback((before) => client.api.suppressions({ userId, limit: PAGE, before }), [client, userId])
  const { items, status, error, hasMore, more, reload, loadMore } = useListing(page)
  return (
    <>
      {status === 'loading' && <Skeleton rows={3} label="Loading who was not notified" />}
      {status === 'error' && <Failed onRetry={reload}>This could not be loaded. {wordsOf(error, client.personName)}</Failed>}
      {status === 'ready' && items.length === 0 && <Empty icon="done" title="Nothing was held back">They were notified of all that concerns them.</Empty>}
      <ul>
        {items.map((item) => (
          <li key={item.id} data-testid="suppression" className="flex flex-wrap items-center justify-between gap-x-4 gap-y-1 border-b border-line px-5 py-3 text-sm last:border-0">
            <Person id={item.userId} name={item.userName} className="max-w-full" />
            <span className="flex flex-wrap items-baseline gap-x-3 text-ink-2">
              <span>{said(item.type)}: <strong className="font-medium text-ink">{REASONS[item.reason] ?? said(item.reason)}</strong></span>
              <TimeText at={item.createdAt} className="text-xs" />
            </span>
          </li>
        ))}
      </ul>
      <LoadMore hasMore={hasMore} more={more} onMore={() => void loadMore()} />
    </>
  )
}

export function Suppressions() {
  const [userId, setUser] = useState(null)
  return (
    <section aria-labelledby="suppressions-heading" data-testid="suppressions">
      <h2 id="suppressions-heading" className="mb-3 px-1 text-sm leading-10 font-semibold">Not notified</h2>
      <div className="overflow-hidden rounded-2xl border border-line bg-surface shadow-card">
        <div className="border-b border-line p-5">
          <PersonField label="Whose notifications were held back?" optional anybody value={userId} onChange={setUser} />
        </div>
        {userId === null ? <Empty icon="search" title="Choose a person">Then you see what they were not told, and why.</Empty> : <List key={userId} userId={userId} />}
      </div>
    </section>
  )
}
