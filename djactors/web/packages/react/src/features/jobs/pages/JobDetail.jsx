/**
 * One job: where it is, who has a part in it, what the signed-in person can do, and what has been said. It changes by itself.
 *
 *     <JobDetail jobId={5} onBack={() => navigate('/')} />
 */
import { useEffect, useRef, useState } from 'react'

import { Button, IconButton } from '../../../shared/components/Button.jsx'
import { Deadline } from '../../../shared/components/Deadline.jsx'
import { Person } from '../../../shared/components/Person.jsx'
import { SafeText } from '../../../shared/components/SafeText.jsx'
import { Empty, Failed, Skeleton } from '../../../shared/components/States.jsx'
import { isFinished, StatusPill } from '../../../shared/components/StatusPill.jsx'
import { TimeText } from '../../../shared/components/TimeText.jsx'
import { useDjactors } from '../../../shared/DjactorsContext.js'
import { useJob } from '../../../shared/hooks/useJobs.js'
import { JobNotifications } from '../../inbox/components/JobNotifications.jsx'
import { JobActions } from '../components/JobActions.jsx'
import { JobSteps } from '../components/JobSteps.jsx'
import { JobThread } from '../components/JobThread.jsx'
import { RetitleDialog } from '../components/RetitleDialog.jsx'
import { Watchers } from '../components/Watchers.jsx'
import { labelOf, movesFor } from '../moves.js'

function Part({ label, children }) {
  return (
    <div className="flex min-h-12 items-center justify-between gap-4 border-b border-line py-2 text-sm last:border-0">
      <dt className="shrink-0 text-ink-2">{label}</dt>
      <dd className="min-w-0 text-right font-medium">{children}</dd>
    </div>
  )
}

export function JobDetail({ jobId, onBack }) {
  const { client } = useDjactors()
  const { job, status, load, move } = useJob(jobId)
  const [renaming, setRenaming] = useState(false)
  const heading = useRef(null)
  const there = job !== null
  const offered = there ? movesFor(job, client.me) : null
  // Whoever came here by a toast or the inbox hears where they are.
  useEffect(() => {
    if (there) heading.current?.focus({ preventScroll: true })
  }, [jobId, there])

  return (
    <main className="mx-auto max-w-6xl px-4 py-6 sm:px-6 sm:py-8" data-testid="job-detail">
      <Button weight="quiet" icon="back" onClick={onBack} className="-ml-3 mb-3">Back to the queue</Button>
      {!there && <h1 className="sr-only">Job {jobId}</h1>}
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
                <Deadline at={job.deadline} done={isFinished(job)} className="text-sm" />
              </div>
              <div className="mt-2.5 flex items-start gap-2">
                <h1 ref={heading} tabIndex={-1} className="min-w-0 flex-1 text-2xl leading-tight font-semibold tracking-tight overflow-x-clip outline-none">
                  <SafeText>{job.title}</SafeText>
                </h1>
                {offered.has('title') && <IconButton label="Change the title" icon="edit" iconClass="size-[18px]" className="-my-1.5" onClick={() => setRenaming(true)} />}
              </div>
              <div className="mt-7 mb-7"><JobSteps status={job.status} /></div>
              <JobActions job={job} move={move} />
              <JobNotifications jobId={job.id} />
            </section>
            <JobThread key={job.id} jobId={job.id} />
          </div>
          <aside aria-label="Facts" className="rounded-2xl border border-line bg-surface px-5 py-3 shadow-card">
            <dl>
              <Part label="Assignee"><Person id={job.assigneeId} name={job.assigneeName} /></Part>
              <Part label="Requester"><Person id={job.requesterId} name={job.requesterName} /></Part>
              <Part label="Approver"><Person id={job.approverId} name={job.approverName} /></Part>
              <Part label="Manager"><Person id={job.managerId} name={job.managerName} /></Part>
              <Part label="Deadline"><Deadline at={job.deadline} done={isFinished(job)} nothing={<span className="text-ink-2">None</span>} /></Part>
              {job.projectId !== null && <Part label="Project"><span className="tabular-nums">{job.projectId}</span></Part>}
              {job.jobTypeId !== null && <Part label="Job type"><span className="tabular-nums">{job.jobTypeId}</span></Part>}
              <Part label="Created"><TimeText at={job.createdAt} /></Part>
              <Part label="Changed"><TimeText at={job.updatedAt} /></Part>
            </dl>
            <Watchers job={job} move={move} mayName={offered.has('watchers')} />
          </aside>
          {renaming && <RetitleDialog job={job} move={move} onClose={() => setRenaming(false)} />}
        </div>
      )}
    </main>
  )
}
