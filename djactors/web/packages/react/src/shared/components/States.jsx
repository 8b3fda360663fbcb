/** What stands where a list would be: a skeleton while it loads, a kind word when it is empty, a way on when it failed. */
import { Button } from './Button.jsx'
import { Icon } from './Icon.jsx'

export function Skeleton({ rows = 4, label = 'Loading' }) {
  return (
    <div role="status" aria-label={label} className="divide-y divide-line">
      {Array.from({ length: rows }, (_, row) => (
        <div key={row} className="flex animate-breathe items-center gap-4 px-5 py-5" aria-hidden="true">
          <div className="size-9 rounded-full bg-line" />
          <div className="flex-1 space-y-2.5">
            <div className="h-3 w-2/3 rounded-full bg-line" />
            <div className="h-3 w-1/3 rounded-full bg-line" />
          </div>
        </div>
      ))}
    </div>
  )
}

export function Empty({ icon = 'inbox', title, children }) {
  return (
    <div className="grid justify-items-center px-6 py-16 text-center">
      <span className="mb-4 grid size-14 place-items-center rounded-2xl bg-accent-soft text-accent-text">
        <Icon name={icon} className="size-7" />
      </span>
      <p className="text-[15px] font-semibold text-ink">{title}</p>
      <div className="mt-1.5 max-w-xs text-sm text-ink-2">{children}</div>
    </div>
  )
}

export function Failed({ onRetry, children = 'It could not be loaded.' }) {
  return (
    <div role="alert" className="grid justify-items-center gap-4 px-6 py-14 text-center text-sm text-ink-2">
      <p>{children}</p>
      <Button onClick={onRetry}>Try again</Button>
    </div>
  )
}

export function LoadMore({ hasMore, more, onMore, label = 'Load more' }) {
  if (!hasMore) return null
  return (
    <div className="flex flex-col items-center gap-2 border-t border-line p-4">
      {more === 'error' && <p role="alert" className="text-sm text-danger">The next page could not be loaded.</p>}
      <Button weight="quiet" busy={more === 'loading'} onClick={onMore}>
        {more === 'loading' ? 'Loading…' : label}
      </Button>
    </div>
  )
}
