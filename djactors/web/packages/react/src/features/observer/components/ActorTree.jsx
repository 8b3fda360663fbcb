/**
 * The tree of supervision as a picture: a supervisor is a room, what it keeps alive stands in it. Each actor shows its state,
 * how full its mailbox is, and how often it was restarted.
 */
import { Icon } from '../../../shared/components/Icon.jsx'
import { BELL, full, LIMITS, placeOf } from '../model.js'
import { UserField } from './UserField.jsx'

/** Nodes drawn below one supervisor; the rest is a number. A tree without users is far smaller. */
const MAX_CHILDREN = 60

const TONES = {
  running: ['bg-ok', 'Running'],
  starting: ['bg-info', 'Starting'],
  backing_off: ['bg-warn', 'Restarting'],
  quarantined: ['bg-danger-fill', 'Set aside'],
  stopping: ['bg-warn', 'Stopping'],
  stopped: ['bg-danger-fill', 'Stopped'],
  broken: ['bg-danger-fill', 'Broken'],
}
const ICONS = { router: 'activity', store: 'inbox', listener: 'screen', engine: 'spark', users: 'user', clock: 'clock', retention: 'trash' }
const iconOf = (name) => Object.entries(ICONS).find(([word]) => name.includes(word))?.[1] ?? 'spark'

export function StateDot({ state }) {
  const [color, words] = TONES[state] ?? ['bg-line-strong', state]
  return (
    <span className="inline-flex items-center gap-1.5 text-xs text-ink-2">
      <span aria-hidden="true" className={`size-2 rounded-full ${color} ${state === 'running' ? '' : 'animate-breathe'}`} />
      {words}
    </span>
  )
}

/**
 * How full a queue is: the whole bar is its bound, and the coloured part what waits now. A full bar is a full queue. The most so
 * far is a mark on the bar, so that nobody takes it for what waits. A mailbox for one message is a bell and has no bar.
 */
function Gauge({ label, mailbox }) {
  if (mailbox?.depth === undefined || mailbox.capacity === undefined) return null
  const { depth, capacity, highWater, refused = 0 } = mailbox
  const share = full(mailbox)
  const most = capacity > 0 && highWater > 0 ? Math.min(1, highWater / capacity) : 0
  const tone = share >= 1 ? 'bg-danger-fill' : share > LIMITS.mailbox ? 'bg-warn' : 'bg-accent'
  if (capacity <= BELL) return <p className="mt-3 text-[11px] text-ink-2 tabular-nums">{label} {depth} of {capacity}</p>
  return (
    <div className="mt-3">
      <div className="flex justify-between gap-2 text-[11px] text-ink-2 tabular-nums">
        <span>{label} {depth.toLocaleString()} of {capacity.toLocaleString()}{share >= 1 && <strong className="text-danger"> full</strong>}</span>
        {highWater !== undefined && <span>most {highWater.toLocaleString()}</span>}
      </div>
      <div aria-hidden="true" data-testid="gauge" className="relative mt-1 h-1.5 overflow-hidden rounded-full bg-line">
        <div className={`absolute inset-y-0 left-0 rounded-full transition-[width] duration-500 ${tone}`}
          style={{ width: `${Math.min(100, Math.max(share * 100, depth > 0 ? 2 : 0))}%` }} />
        {most > share && <div className="absolute inset-y-0 w-0.5 -translate-x-full bg-ink-2" style={{ left: `${Math.max(most * 100, 2)}%` }} />}
      </div>
      {refused > 0 && <p className="mt-1 text-[11px] font-medium text-warn tabular-nums">{refused} refused because it was full</p>}
    </div>
  )
}

function Tally({ node }) {
  const parts = [
    [node.restarts, 'restarts', 'restart'],
    [node.dropped, 'messages dropped', 'message dropped'],
  ].filter(([count]) => count > 0)
  if (parts.length === 0 && !node.lastError) return null
  return (
    <div className="mt-2 text-xs text-warn">
      {parts.length > 0 && <p className="font-medium tabular-nums">{parts.map(([count, more, one]) => `${count} ${count === 1 ? one : more}`).join(', ')}</p>}
      {node.lastError && <p className="mt-0.5 line-clamp-2 text-ink-2 [overflow-wrap:anywhere]" title={node.lastError}>{node.lastError}</p>}
    </div>
  )
}

function Actor({ node, recent }) {
  return (
    <li data-testid="actor-node" data-name={node.name} data-state={node.state}
      className={`rounded-xl border bg-surface p-4 shadow-card ${node.state === 'running' && !recent ? 'border-line' : 'border-warn'}`}>
      <div className="flex items-center gap-2.5">
        <span className="grid size-8 shrink-0 place-items-center rounded-[10px] bg-accent-soft text-accent-text"><Icon name={iconOf(node.name)} className="size-[18px]" /></span>
        <div className="min-w-0 leading-tight">
          <p className="truncate text-sm font-semibold" title={node.name}>{node.name}</p>
          <StateDot state={node.state} />
        </div>
      </div>
      <Gauge label="Mailbox" mailbox={node.mailbox} />
      <Tally node={node} />
    </li>
  )
}

/** The store is no actor: its threads are asked by all of them. */
function Store({ store }) {
  return (
    <li data-testid="actor-node" data-name="store" data-state={store.state}
      className={`rounded-xl border bg-surface p-4 shadow-card ${store.state === 'running' ? 'border-line' : 'border-danger'}`}>
      <div className="flex items-center gap-2.5">
        <span className="grid size-8 shrink-0 place-items-center rounded-[10px] bg-info-soft text-info"><Icon name="inbox" className="size-[18px]" /></span>
        <div className="min-w-0 leading-tight">
          <p className="truncate text-sm font-semibold">store</p>
          <StateDot state={store.state} />
        </div>
      </div>
      <Gauge label="Writes" mailbox={{ depth: store.writesQueued, capacity: store.writeCapacity }} />
      <Gauge label="Reads" mailbox={{ depth: store.readsQueued, capacity: store.readCapacity }} />
      <p className="mt-2 text-[11px] text-ink-2 tabular-nums">
        {store.commits?.toLocaleString()} commits{store.failed > 0 && `, ${store.failed.toLocaleString()} failed`}
      </p>
    </li>
  )
}

function Room({ node, path, store, users, restarted }) {
  const shown = (node.children ?? []).slice(0, MAX_CHILDREN)
  const hidden = (node.children?.length ?? 0) - shown.length
  const rooms = shown.filter((child) => child.kind === 'supervisor')
  const actors = shown.filter((child) => child.kind !== 'supervisor')
  const here = [...path, node.name]
  const isUsers = users && node.name === 'users'
  return (
    <li data-testid="actor-node" data-name={node.name} data-state={node.state} className="rounded-2xl border border-line bg-sunken p-3 sm:p-4">
      <div className="mb-3 flex flex-wrap items-center gap-x-3 gap-y-1 px-1">
        <p className="text-sm font-semibold">{node.name}</p>
        <StateDot state={node.state} />
        <span className="text-xs text-ink-2">supervisor</span>
      </div>
      <Tally node={node} />
      {(actors.length > 0 || store) && (
        <ul className="grid gap-3 min-[480px]:grid-cols-2 lg:grid-cols-3 xl:grid-cols-4">
          {actors.map((child) => <Actor key={child.name} node={child} recent={restarted.has(placeOf([...here, child.name]))} />)}
          {store && <Store store={store} />}
        </ul>
      )}
      {isUsers && <UserField users={users} />}
      {!isUsers && hidden > 0 && <p className="px-1 pt-3 text-xs text-ink-2">and {hidden} more</p>}
      {rooms.length > 0 && (
        <ul className={`grid gap-3 ${actors.length > 0 ? 'mt-3' : ''}`}>
          {rooms.map((child) => <Room key={child.name} node={child} path={here} users={users} restarted={restarted} />)}
        </ul>
      )}
    </li>
  )
}

export function ActorTree({ tree, users, store, recent }) {
  const restarted = new Set(recent.map(({ path }) => path))
  return (
    <ul aria-label="Actor tree">
      <Room node={tree} path={[]} users={users} store={store} restarted={restarted} />
    </ul>
  )
}
