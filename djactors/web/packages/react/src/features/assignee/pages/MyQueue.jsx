/**
 * The queue: what is assigned to me, what waits for approval, and all jobs of the tenant. It changes by itself; a row that
 * somebody has just changed lights up for a moment.
 *
 *     <MyQueue />   inside a DjactorsProvider, whose onOpenJob gets the job that was chosen
 */
import { useEffect, useState } from 'react'

import { Button } from '../../../shared/components/Button.jsx'
import { Deadline } from '../../../shared/components/Deadline.jsx'
import { JobLink } from '../../../shared/components/JobLink.jsx'
import { Person } from '../../../shared/components/Person.jsx'
import { SafeText } from '../../../shared/components/SafeText.jsx'
import { Segments } from '../../../shared/components/Segments.jsx'
import { Empty, Failed, LoadMore, Skeleton } from '../../../shared/components/States.jsx'
import { isFinished, STATUS, StatusPill } from '../../../shared/components/StatusPill.jsx'
import { TimeText } from '../../../shared/components/TimeText.jsx'
import { useDjactors } from '../../../shared/DjactorsContext.js'
import { useJobs } from '../../../shared/hooks/useJobs.js'
import { CreateJob } from '../../jobs/components/CreateJob.jsx'
import { labelOf } from '../../jobs/moves.js'

const VIEWS = [
  ['mine', 'Assigned to me'],
  ['approval', 'For approval'],
  ['all', 'All jobs'],
]
const NOTHING = {
  mine: ['Nothing on your desk', 'When a job is assigned to you, it appears here by itself.'],
  approval: ['Nothing waits for approval', 'Jobs that were submitted appear here by themselves.'],
  all: ['No jobs', 'Create the first one, or choose another status.'],
}

/** What each client's person has chosen to see, for when they come back from a job. */
const choices = new WeakMap()

function useChoice(client) {
  const [choice, setChoice] = useState(() => choices.get(client) ?? { view: 'mine', only: '' })
  useEffect(() => {
    choices.set(client, choice)
  }, [client, choice])
  return [choice, (change) => setChoice((before) => ({ ...before, ...change }))]
}

function Row({ job, point, mine }) {
  return (
    <li data-testid="job" data-job-id={job.id} data-status={job.status}
      className="relative isolate border-b border-line transition-colors last:border-0 hover:bg-sunken">
      {point !== null && <span key={point} aria-hidden="true" className="pointer-events-none absolute inset-0 -z-10 animate-point" />}
      <div className="grid grid-cols-[minmax(0,1fr)_auto] items-center gap-x-4 gap-y-2.5 px-5 py-4 md:grid-cols-[minmax(0,1fr)_230px_176px]">
        <div className="min-w-0 max-md:col-span-2">
          <JobLink id={job.id}
            className="focus-ring block max-w-full rounded-md text-left text-[15px] leading-snug font-semibold after:absolute after:inset-0">
            <SafeText className="line-clamp-2">{job.title}</SafeText>
          </JobLink>
          <p className="mt-1 flex flex-wrap items-center gap-x-4 gap-y-1 text-xs text-ink-2">
            <span>{labelOf(job)}</span>
            <span>changed <TimeText at={job.updatedAt} /></span>
            {job.deadline && !isFinished(job) && (
              <Deadline at={job.deadline} className="[&_svg]:size-3.5" />
            )}
          </p>
        </div>
        <Person id={job.assigneeId} name={job.assigneeName} nobody="Not assigned" className="text-sm" />
        <div className="flex flex-col items-end gap-1.5 justify-self-end">
          <StatusPill status={job.status} />
          {mine && <span className="text-xs font-semibold text-accent-text">Waiting for you</span>}
        </div>
      </div>
    </li>
  )
}

export function MyQueue() {
  const { client, openJob } = useDjactors()
  const [{ view, only }, choose] = useChoice(client)
  const [creating, setCreating] = useState(false)
  const filter =
    view === 'approval'
      ? { assignee: null, status: 'pending_approval' }
      : { assignee: view === 'mine' ? 'me' : null, status: only || null }
  const { jobs, status, hasMore, more, touched, load, loadMore } = useJobs(filter)
  const me = client.me?.userId
  const [title, words] = NOTHING[view]
  return (
    <main className="mx-auto max-w-6xl px-4 py-6 sm:px-6 sm:py-10" data-testid="queue">
      <div className="flex items-end justify-between gap-4">
        <div className="min-w-0">
          <h1 className="text-2xl font-semibold tracking-tight sm:text-[28px]">My queue</h1>
          <p className="mt-1 text-sm text-ink-2">Changes show here as they happen.</p>
        </div>
        <Button weight="primary" icon="plus" onClick={() => setCreating(true)}>New job</Button>
      </div>

      <div className="mt-6 mb-4 flex flex-wrap items-center justify-between gap-3">
        <Segments label="Jobs to show" options={VIEWS} value={view} onChange={(chosen) => choose({ view: chosen })} className="max-w-full max-[400px]:[&_label]:px-2 max-[400px]:[&_label]:text-[13px]" />
        {view !== 'approval' && (
          <label className="flex items-center gap-2 text-sm text-ink-2 max-sm:w-full">
            Status
            <select className="field w-auto! py-1.5! max-sm:flex-1" value={only} onChange={({ target }) => choose({ only: target.value })}>
              <option value="">Any</option>
              {Object.entries(STATUS).map(([key, [text]]) => <option key={key} value={key}>{text}</option>)}
            </select>
          </label>
        )}
      </div>

      <section aria-label="Jobs" aria-busy={status === 'loading'} className="overflow-hidden rounded-2xl border border-line bg-surface shadow-card">
        {(status === 'idle' || status === 'loading') && <Skeleton rows={5} label="Loading jobs" />}
        {status === 'error' && <Failed onRetry={load}>The jobs could not be loaded.</Failed>}
        {status === 'ready' && jobs.length === 0 && !hasMore && <Empty icon={view === 'approval' ? 'done' : 'inbox'} title={title}>{words}</Empty>}
        {status === 'ready' && (
          <ul>
            {jobs.map((job) => (
              <Row key={job.id} job={job} point={touched?.id === job.id ? touched.at : null}
                mine={job.status === 'pending_approval' && job.approverId === me} />
            ))}
          </ul>
        )}
        {status === 'ready' && <LoadMore hasMore={hasMore} more={more} onMore={loadMore} />}
      </section>

      {creating && (
        <CreateJob onClose={() => setCreating(false)}
          onCreated={(job) => {
            setCreating(false)
            openJob(job.id)
          }} />
      )}
    </main>
  )
}
