/**
 * One job: where it is, who has a part in it, what the signed-in person can do, and what has been said. It changes by itself.
 *
 *     <JobDetail jobId={5} onBack={() => navigate('/')} />
 */
import { useEffect, useRef } from 'react'

import { Button } from '../../../shared/components/Button.jsx'
import { Deadline } from '../../../shared/components/Deadline.jsx'
import { Icon } from '../../../shared/components/Icon.jsx'
import { Person } from '../../../shared/components/Person.jsx'
import { SafeText } from '../../../shared/components/SafeText.jsx'
import { Empty, Failed, Skeleton } from '../../../shared/components/States.jsx'
import { StatusPill } from '../../../shared/components/StatusPill.jsx'
import { TimeText } from '../../../shared/components/TimeText.jsx'
import { useJob } from '../../../shared/hooks/useJobs.js'
import { JobNotifications } from '../../inbox/components/JobNotifications.jsx'
import { JobActions } from '../components/JobActions.jsx'
import { JobSteps } from '../components/JobSteps.jsx'
import { JobThread } from '../components/JobThread.jsx'
import { labelOf } from '../moves.js'

/** Watchers named one by one; the rest is a number. */
const NAMED_WATCHERS = 8

function Part({ label, children }) {
  return (
    <div className="flex min-h-12 items-center justify-between gap-4 border-b border-line py-2 text-sm last:border-0">
      <dt className="shrink-0 text-ink-2">{label}</dt>
      <dd className="min-w-0 text-right font-medium">{children}</dd>
    </div>
  )
}

export function JobDetail({ jobId, onBack }) {
  const { job, status, load, move } = useJob(jobId)
  const heading = useRef(null)
  const there = job !== null
  // Whoever came here by a toast or the inbox hears where they are.
  useEffect(() => {
    if (there) heading.current?.focus({ preventScroll: true })
  }, [jobId, there])

  return (
    <main className="mx-auto max-w-6xl px-4 py-6 sm:px-6 sm:py-8" data-testid="job-detail">
      <Button weight="quiet" icon="back" onClick={onBack} className="-ml-3 mb-3">Back to the queue</Button>
      {!there && status === 'loading' && (
        <div className="overflow-hidden rounded-2xl border border-line bg-surface shadow-card"><Skeleton rows={4} label="Loading the job" /></div>
      )}
      {!there && status === 'missing' && (
        <Empty icon="list" title="There is no such job">It may belong to another tenant, or the link may be incomplete.</Empty>
      )}
      {!there && status === 'error' && <Failed onRetry={load}>The job could not be loaded.</Failed>}
      {there && (
        <div className="grid grid-cols-[minmax(0,1fr)] items-start gap-6 lg:grid-cols-[minmax(0,1fr)_340px]">
          <div className="min-w-0 space-y-6">
            <section className="rounded-2xl border border-line bg-surface p-5 shadow-card sm:p-7">
              <div className="flex flex-wrap items-center gap-x-3 gap-y-2">
                <span className="text-sm font-medium text-ink-2">{labelOf(job)}</span>
                <StatusPill status={job.status} />
                <Deadline at={job.deadline} done={job.status === 'completed'} className="text-sm" />
              </div>
              <h1 ref={heading} tabIndex={-1} className="mt-2.5 text-2xl leading-tight font-semibold tracking-tight overflow-x-clip outline-none">
                <SafeText>{job.title}</SafeText>
              </h1>
              <div className="mt-7 mb-7"><JobSteps status={job.status} /></div>
              <JobActions job={job} move={move} />
              <JobNotifications jobId={job.id} />
            </section>
            <JobThread key={job.id} job={job} move={move} />
          </div>
          <aside aria-label="Facts" className="rounded-2xl border border-line bg-surface px-5 py-3 shadow-card">
            <dl>
              <Part label="Assignee"><Person id={job.assigneeId} name={job.assigneeName} /></Part>
              <Part label="Requester"><Person id={job.requesterId} /></Part>
              <Part label="Approver"><Person id={job.approverId} /></Part>
              <Part label="Manager"><Person id={job.managerId} /></Part>
              <Part label="Deadline"><Deadline at={job.deadline} done={job.status === 'completed'} nothing={<span className="text-ink-2">None</span>} /></Part>
              {job.projectId !== null && <Part label="Project"><span className="tabular-nums">{job.projectId}</span></Part>}
              {job.jobTypeId !== null && <Part label="Job type"><span className="tabular-nums">{job.jobTypeId}</span></Part>}
              <Part label="Created"><TimeText at={job.createdAt} /></Part>
              <Part label="Changed"><TimeText at={job.updatedAt} /></Part>
            </dl>
            <div className="border-t border-line py-4">
              <h2 className="mb-3 flex items-center gap-2 text-sm text-ink-2"><Icon name="eye" className="size-4" /> Watchers</h2>
              {job.watcherIds.length === 0 ? (
                <p className="text-sm text-ink-2">Nobody watches it.</p>
              ) : (
                <ul className="space-y-2 text-sm">
                  {job.watcherIds.slice(0, NAMED_WATCHERS).map((id) => <li key={id}><Person id={id} /></li>)}
                  {job.watcherIds.length > NAMED_WATCHERS && <li className="text-ink-2">and {job.watcherIds.length - NAMED_WATCHERS} more</li>}
                </ul>
              )}
            </div>
          </aside>
        </div>
      )}
    </main>
  )
}
