/**
 * The comments on a job, newest first, with a field to write one. What others write shows by itself.
 *
 *     <JobThread jobId={5} />
 */
import { useEffect, useRef } from 'react'

import { announce } from '../../../shared/components/Announcer.jsx'
import { Avatar } from '../../../shared/components/Person.jsx'
import { presenceWord } from '../../../shared/components/Presence.jsx'
import { SafeText } from '../../../shared/components/SafeText.jsx'
import { Empty, Failed, LoadMore, Skeleton } from '../../../shared/components/States.jsx'
import { TimeText } from '../../../shared/components/TimeText.jsx'
import { useDjactors } from '../../../shared/DjactorsContext.js'
import { usePresence } from '../../../shared/hooks/usePeople.js'
import { useThread } from '../../../shared/hooks/useThread.js'
import { wordsOf } from '../../../shared/services/refusals.js'
import { CommentText } from './CommentText.jsx'
import { Composer } from './Composer.jsx'

function Comment({ comment }) {
  const { client } = useDjactors()
  const { authorId, authorName, text, mentions = [], createdAt } = comment
  const name = authorName ?? client.personName(authorId)
  const connected = usePresence(authorId, name)
  return (
    <li data-testid="comment" data-comment-id={comment.id} className="flex gap-3.5 border-b border-line px-5 py-4 last:border-0">
      <Avatar id={authorId} name={name} connected={connected} className="size-8 text-xs" />
      <article className="min-w-0 flex-1">
        <p className="flex flex-wrap items-baseline justify-between gap-x-3 text-sm">
          <span className="min-w-0">
            <SafeText className="font-medium">{name}</SafeText>
            {authorId === client.me?.userId && <span className="ml-1.5 text-xs text-ink-2">you</span>}
            {connected !== undefined && <span className="sr-only">, {presenceWord(connected)}</span>}
          </span>
          <TimeText at={createdAt} className="text-xs text-ink-2" />
        </p>
        <CommentText text={text} mentions={mentions} />
      </article>
    </li>
  )
}

/** What arrives while somebody reads is said, but neither what was there nor what they wrote. */
function useSaid(comments, ready, client) {
  const newest = useRef(null)
  useEffect(() => {
    if (!ready) return
    const id = comments[0]?.id ?? 0
    const known = newest.current
    newest.current = Math.max(id, known ?? 0)
    if (known === null) return
    for (const comment of comments.filter((each) => each.id > known && each.authorId !== client.me?.userId).slice(0, 3)) {
      announce(`${comment.authorName ?? client.personName(comment.authorId)} commented: ${comment.text}`)
    }
  }, [comments, ready, client])
}

export function JobThread({ jobId }) {
  const { client } = useDjactors()
  const { comments, status, error, hasMore, more, load, loadMore, add } = useThread(jobId)
  const ready = status === 'ready'
  useSaid(comments, ready, client)
  return (
    <>
      <Composer send={add} />
      <section aria-labelledby={`thread-${jobId}`} aria-busy={status === 'loading'}>
        <h2 id={`thread-${jobId}`} className="mb-3 px-1 text-sm font-semibold">Comments</h2>
        <div className="overflow-hidden rounded-2xl border border-line bg-surface shadow-card">
          {status === 'loading' && comments.length === 0 && <Skeleton rows={3} label="Loading the comments" />}
          {status === 'error' && <Failed onRetry={load}>The comments could not be loaded. {wordsOf(error, client.personName)}</Failed>}
          {ready && comments.length === 0 && <Empty icon="comment" title="No comments yet">What is said here stays with the job.</Empty>}
          {comments.length > 0 && (
            <ol data-testid="job-thread">
              {comments.map((comment) => <Comment key={comment.id} comment={comment} />)}
            </ol>
          )}
          {ready && <LoadMore hasMore={hasMore} more={more} onMore={loadMore} label="Older comments" />}
        </div>
      </section>
    </>
  )
}
