/**
 * The actors of connected users: all of the installation as numbers, those of one's own tenant as a field of tiles, trouble
 * first, at most a few screenfuls, the rest a number.
 */
import { memo } from 'react'

import { useDjactors } from '../../../shared/DjactorsContext.js'
import { full, LIMITS, trouble } from '../model.js'

/** Tiles drawn, whatever the server sends: a browser redraws these once a second without effort. */
const MAX_TILES = 100

const Tile = memo(function Tile({ userId, name, state, stale, sockets, depth, crowded, restarts }) {
  const well = state === 'running' && !stale && !crowded && restarts === 0
  const tone =
    state === 'quarantined' ? 'border-danger bg-danger-soft text-danger' : well ? 'border-line bg-surface text-ink' : 'border-warn bg-warn-soft text-warn'
  const facts = [
    name,
    `${sockets} ${sockets === 1 ? 'socket' : 'sockets'}`,
    depth > 0 && `${depth} waiting`,
    restarts > 0 && `${restarts} ${restarts === 1 ? 'restart' : 'restarts'}`,
    stale && 'behind',
    state !== 'running' && state.replace('_', ' '),
  ].filter(Boolean)
  return (
    <li data-testid="user-node" data-user-id={userId} data-state={state} title={facts.join(', ')}
      className={`flex min-w-0 items-center gap-2 rounded-[10px] border px-2.5 py-1.5 text-xs transition-colors ${tone}`}>
      <span className="min-w-0 flex-1 truncate font-medium">{name}</span>
      {depth > 0 && <span className="text-ink-2 tabular-nums">{depth}</span>}
      <span className="sr-only">{facts.slice(1).join(', ')}</span>
      <span aria-hidden="true" className="flex gap-0.5">
        {Array.from({ length: Math.min(sockets, 4) }, (_, place) => <span key={place} className="size-1.5 rounded-full bg-ok" />)}
        {sockets > 4 && <span className="ml-0.5 text-[10px] leading-none tabular-nums">{sockets}</span>}
      </span>
    </li>
  )
})

const counted = (count, one) => `${count.toLocaleString()} ${count === 1 ? one : `${one}s`}`

export function UserField({ users }) {
  const { client } = useDjactors()
  const { total = 0, sockets = 0, tenant = {}, rows = [], leftOut = 0 } = users
  const tiles = [...rows].sort((a, b) => trouble(b) - trouble(a) || b.sockets - a.sockets || a.userId - b.userId).slice(0, MAX_TILES)
  const rest = leftOut + rows.length - tiles.length
  const elsewhere = Math.max(0, total - (tenant.total ?? total))
  return (
    <div data-testid="users">
      <p className="mb-2 px-1 text-xs text-ink-2 tabular-nums">
        {counted(total, 'user actor')}, {counted(sockets, 'socket')}
        {elsewhere > 0 && `; ${elsewhere.toLocaleString()} of other tenants`}
      </p>
      {tiles.length === 0 ? (
        <p className="rounded-xl border border-dashed border-line-strong/50 px-4 py-6 text-center text-sm text-ink-2">Nobody of your tenant is connected.</p>
      ) : (
        <ul aria-label="Connected users" className="grid grid-cols-2 gap-2 sm:grid-cols-3 lg:grid-cols-5">
          {tiles.map(({ userId, name, state, stale, sockets: open = 0, mailbox, restarts = 0 }) => (
            <Tile key={userId} userId={userId} name={name ?? client.personName(userId)} state={state} stale={stale} sockets={open}
              depth={mailbox?.depth ?? 0} crowded={full(mailbox) > LIMITS.mailbox} restarts={restarts} />
          ))}
        </ul>
      )}
      {rest > 0 && (
        <p data-testid="users-rest" className="px-1 pt-3 text-xs font-medium text-ink-2 tabular-nums">
          and {rest.toLocaleString()} more, none of them in more trouble than these
        </p>
      )}
    </div>
  )
}
