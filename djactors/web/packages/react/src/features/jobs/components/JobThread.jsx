/**
 * A comment to write, and below it what this person has heard of the job: the notifications about it that are loaded, and the
 * comments just written here. The server keeps comments for those who watch; it has no list of them to read.
 */
import { useMemo, useState } from 'react'
import { useStore } from 'zustand'

import { announce } from '../../../shared/components/Announcer.jsx'
import { Button } from '../../../shared/components/Button.jsx'
import { Icon } from '../../../shared/components/Icon.jsx'
import { jobOf, kindOf } from '../../../shared/components/kinds.js'
import { SafeText } from '../../../shared/components/SafeText.jsx'
import { TimeText } from '../../../shared/components/TimeText.jsx'
import { useDjactors } from '../../../shared/DjactorsContext.js'
import { serverNow } from '../../../shared/services/clock.js'

/** As the schema has it. */
const MAX_COMMENT = 4000

export function JobThread({ job, move }) {
  const { client } = useDjactors()
  const [text, setText] = useState('')
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState(null)
  const [own, setOwn] = useState([])
  const notifications = useStore(client.notifications, ({ items }) => items)
  const entries = useMemo(() => {
    const heard = notifications.filter((item) => jobOf(item) === job.id).map((item) => ({ ...item, key: `n${item.id}` }))
    return [...own, ...heard].sort((a, b) => b.createdAt.localeCompare(a.createdAt))
  }, [notifications, own, job.id])

  const send = async (event) => {
    event.preventDefault()
    const words = text.trim()
    if (words === '') return
    setBusy(true)
    setError(null)
    try {
      await move('comments', { text: words })
      const createdAt = new Date(serverNow()).toISOString()
      setOwn((before) => [{ key: `o${createdAt}`, type: 'comment_added', title: 'You commented', message: words, createdAt }, ...before])
      setText('')
      announce('Comment sent.')
    } catch (refusal) {
      setError(refusal.message)
    } finally {
      setBusy(false)
    }
  }

  return (
    <>
      <form onSubmit={send} className="rounded-2xl border border-line bg-surface p-4 shadow-card sm:p-5">
        <label htmlFor="comment" className="mb-2 block text-sm font-semibold">Comment</label>
        <textarea id="comment" className="field min-h-20" maxLength={MAX_COMMENT} value={text} placeholder="Say something to those who watch this job"
          onChange={({ target }) => setText(target.value)}
          onKeyDown={(event) => {
            if (event.key === 'Enter' && (event.metaKey || event.ctrlKey)) event.currentTarget.form.requestSubmit()
          }} />
        {error !== null && <p role="alert" className="mt-2 text-sm text-danger">{error}</p>}
        <div className="mt-3 flex items-center justify-between gap-3">
          <p className="text-xs text-ink-2">Watchers are notified.</p>
          <Button type="submit" weight="primary" busy={busy} disabled={text.trim() === ''}>Send comment</Button>
        </div>
      </form>

      <section aria-labelledby="heard">
        <h2 id="heard" className="mb-3 px-1 text-sm font-semibold">What you have heard</h2>
        {entries.length === 0 ? (
          <p className="rounded-2xl border border-dashed border-line px-5 py-8 text-center text-sm text-ink-2">
            Nothing yet. Watch the job to hear of its comments.
          </p>
        ) : (
          <ol data-testid="job-thread" className="overflow-hidden rounded-2xl border border-line bg-surface shadow-card">
            {entries.map((entry) => {
              const { icon, tone } = kindOf(entry)
              return (
                <li key={entry.key} className="flex gap-3.5 border-b border-line px-5 py-4 last:border-0">
                  <span className={`grid size-8 shrink-0 place-items-center rounded-full ${tone}`}>
                    <Icon name={icon} className="size-4" />
                  </span>
                  <div className="min-w-0 flex-1">
                    <p className="flex flex-wrap items-baseline justify-between gap-x-3 text-sm">
                      <SafeText className="font-medium">{entry.title}</SafeText>
                      <TimeText at={entry.createdAt} className="text-xs text-ink-2" />
                    </p>
                    {entry.message && entry.message !== job.title && (
                      <p className="mt-1 text-sm whitespace-pre-line text-ink-2"><SafeText links>{entry.message}</SafeText></p>
                    )}
                  </div>
                </li>
              )
            })}
          </ol>
        )}
      </section>
    </>
  )
}
