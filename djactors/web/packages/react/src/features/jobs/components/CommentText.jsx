/** What somebody wrote: text as it is, addresses of the web as links, and whom it mentions marked. */
import { Fragment } from 'react'

import { LinkOut, splitLinks } from '../../../shared/components/SafeText.jsx'
import { useDjactors } from '../../../shared/DjactorsContext.js'
import { splitMentions } from '../mentions.js'

export function CommentText({ text, mentions }) {
  const { client } = useDjactors()
  const parts = splitLinks(text).flatMap((part) => (typeof part === 'string' ? splitMentions(part, mentions) : [part]))
  const named = new Set(parts.map(({ id }) => id))
  // By id alone, or by a name that they have no longer.
  const others = mentions.filter(({ id, name }) => !named.has(id) && !parts.some((part) => part.id && part.text.slice(1) === name))
  return (
    <>
      <p className="mt-1 text-sm whitespace-pre-line text-ink">
        <bdi dir="auto" className="[overflow-wrap:anywhere]">
          {parts.map((part, place) => {
            if (typeof part === 'string') return <Fragment key={place}>{part}</Fragment>
            if (part.href) return <LinkOut key={place} {...part} />
            const me = part.id === client.me?.userId
            return (
              <mark key={place} data-testid="mention" data-person-id={part.id}
                className={`rounded box-decoration-clone px-0.5 py-0.5 font-semibold ${me ? 'bg-accent text-on-accent' : 'bg-accent-soft text-accent-text'}`}>
                {part.text}
              </mark>
            )
          })}
        </bdi>
      </p>
      {others.length > 0 && <p className="mt-1 text-xs text-ink-2">Mentions {others.map(({ name }) => name).join(', ')}.</p>}
    </>
  )
}
