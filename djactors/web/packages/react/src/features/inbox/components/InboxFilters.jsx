/**
 * Above the list: search, the filters, and what goes with them.
 *
 * Rules: a search begins when nobody has typed for a moment, or with Enter. Escape in the field takes the search back first.
 * What narrows the list can be seen and taken back, whether or not the filters are unfolded.
 */
import { useEffect, useId, useState } from 'react'

import { Button, IconButton } from '../../../shared/components/Button.jsx'
import { Icon } from '../../../shared/components/Icon.jsx'
import { SafeText } from '../../../shared/components/SafeText.jsx'
import { jobName, PRIORITIES, typeName, TYPES } from '../names.js'

/** ms without a key before a search begins. */
const PAUSE = 250
/** As the server has it. */
const MAX_QUERY = 100

function Search({ value, onSearch }) {
  const [text, setText] = useState(value)
  const [known, setKnown] = useState(value)
  // Somebody else has changed it: the search was cleared.
  if (known !== value) {
    setKnown(value)
    if (text.trim() !== value) setText(value)
  }
  useEffect(() => {
    if (text.trim() === value) return undefined
    const timer = setTimeout(() => onSearch(text.trim()), PAUSE)
    return () => clearTimeout(timer)
  }, [text, value, onSearch])
  return (
    <form role="search" className="relative min-w-0 flex-1"
      onSubmit={(event) => {
        event.preventDefault()
        onSearch(text.trim())
      }}>
      <Icon name="search" className="pointer-events-none absolute top-2.5 left-3 size-5 text-ink-2" />
      <input type="text" inputMode="search" enterKeyHint="search" aria-label="Search notifications" placeholder="Search title, message, job" maxLength={MAX_QUERY} value={text}
        onChange={({ target }) => setText(target.value)}
        onKeyDown={(event) => {
          if (event.key !== 'Escape' || text === '') return
          event.preventDefault()
          event.stopPropagation()
          setText('')
          onSearch('')
        }}
        className="field pr-10! pl-10!" />
      {text !== '' && (
        <IconButton label="Clear the search" icon="close" iconClass="size-4" className="absolute! top-0.5 right-0.5 size-9!"
          onClick={() => {
            setText('')
            onSearch('')
          }} />
      )}
    </form>
  )
}

function Choice({ label, any, options, value, onChange }) {
  const id = useId()
  return (
    <div className="min-w-0 flex-1">
      <label htmlFor={id} className="mb-1 block text-xs font-medium text-ink-2">{label}</label>
      <select id={id} className="field" value={value ?? ''} onChange={({ target }) => onChange(target.value || null)}>
        <option value="">{any}</option>
        {options.map(([key, text]) => <option key={key} value={key}>{text}</option>)}
      </select>
    </div>
  )
}

/** One thing that narrows the list, to take back. */
function Chip({ children, name, onRemove }) {
  return (
    <span className="inline-flex min-h-8 max-w-full items-center rounded-full bg-accent-soft pl-3 text-xs font-medium text-accent-text">
      <SafeText className="truncate">{children}</SafeText>
      <IconButton label={`Not only ${name}`} title="Take away" icon="close" iconClass="size-3.5" onClick={onRemove} className="size-8! rounded-full! text-accent-text!" />
    </span>
  )
}

export function InboxFilters({ filter, items, onChange, unreadCount, onReadAll }) {
  const [unfolded, setUnfolded] = useState(false)
  const [search] = useState(() => (query) => onChange({ query }))
  const { view, unread, type, priority, job } = filter
  const own = [...new Set([...items.map((item) => item.type), type])].filter((each) => each !== null && !TYPES.has(each))
  const types = [...TYPES, ...own.sort().map((each) => [each, typeName(each)])]
  const narrowing = [type, priority, job].filter((each) => each !== null).length
  const folded = !unfolded && narrowing > 0
  return (
    <div className="space-y-2.5 border-b border-line px-5 py-3">
      <div className="flex items-center gap-2">
        <Search value={filter.query} onSearch={search} />
        <button type="button" aria-expanded={unfolded} aria-label={narrowing > 0 ? `Filter, ${narrowing} chosen` : 'Filter'} title="Filter" onClick={() => setUnfolded(!unfolded)}
          className={`focus-ring relative grid size-10 shrink-0 place-items-center rounded-[10px] transition-colors ${unfolded ? 'bg-sunken text-ink' : 'text-ink-2 hover:bg-sunken hover:text-ink'}`}>
          <Icon name="sliders" />
          {narrowing > 0 && <span aria-hidden="true" className="absolute top-1.5 right-1.5 size-2.5 rounded-full bg-accent ring-2 ring-raised" />}
        </button>
      </div>
      {unfolded && (
        <div className="flex gap-2" data-testid="filters">
          <Choice label="Type" any="Any type" options={types} value={type} onChange={(chosen) => onChange({ type: chosen })} />
          <Choice label="Priority" any="Any priority" options={Object.entries(PRIORITIES)} value={priority} onChange={(chosen) => onChange({ priority: chosen })} />
        </div>
      )}
      {(folded || job !== null) && (
        <div className="flex flex-wrap gap-1.5">
          {folded && type !== null && <Chip name="this type" onRemove={() => onChange({ type: null })}>{typeName(type)}</Chip>}
          {folded && priority !== null && <Chip name="this priority" onRemove={() => onChange({ priority: null })}>{PRIORITIES[priority]}</Chip>}
          {job !== null && <Chip name="this job" onRemove={() => onChange({ job: null })}>{jobName(job, items)}</Chip>}
        </div>
      )}
      <div className="flex items-center justify-between gap-2">
        <button type="button" aria-pressed={unread} onClick={() => onChange({ unread: !unread })}
          className={`focus-ring inline-flex min-h-9 items-center gap-1.5 rounded-full border px-3 text-sm font-medium transition-colors ${unread ? 'border-transparent bg-accent-soft text-accent-text' : 'border-line-strong text-ink-2 hover:bg-sunken hover:text-ink'}`}>
          {unread && <Icon name="check" className="size-4" />}
          Unread
        </button>
        {view === 'inbox' && (
          <Button weight="quiet" icon="checks" disabled={unreadCount === 0} onClick={onReadAll} className="-mr-2 min-h-9! px-2.5!">
            Mark all as read
          </Button>
        )}
      </div>
    </div>
  )
}
