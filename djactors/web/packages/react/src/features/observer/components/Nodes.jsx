/**
 * The servers that share the database, each as it has said itself. Everything else on the page is about the one that answers.
 */
import { SILENT } from '../model.js'

const counted = (count, one) => `${count.toLocaleString()} ${count === 1 ? one : `${one}s`}`

export function Nodes({ nodes }) {
  return (
    <section aria-labelledby="nodes-heading">
      <h2 id="nodes-heading" className="mb-3 px-1 text-sm font-semibold">Nodes</h2>
      <ul className="grid gap-2 sm:grid-cols-2 lg:grid-cols-3">
        {nodes.map(({ name, isThis, seenAgo, version, url, users, sockets }) => {
          const silent = seenAgo > SILENT
          return (
            <li key={name} data-testid="node" data-state={silent ? 'silent' : 'running'}
              className={`min-w-0 rounded-2xl border px-4 py-3 shadow-card ${silent ? 'border-warn bg-warn-soft text-warn' : 'border-line bg-surface'}`}>
              <p className="flex items-baseline gap-2">
                <span className="min-w-0 flex-1 truncate font-medium">{name}</span>
                {isThis && <span className="text-xs text-ink-2">answers here</span>}
              </p>
              <p className="truncate text-xs text-ink-2 tabular-nums">
                {silent ? `not seen for ${Math.round(seenAgo)} s` : `${counted(users, 'user')}, ${counted(sockets, 'socket')}`}
                {` · ${version} · ${url}`}
              </p>
            </li>
          )
        })}
      </ul>
    </section>
  )
}
