/**
 * What a job's page has to do with the inbox: opening it reads what the inbox has of the job, and the job can be muted.
 *
 *     <JobNotifications jobId={5} />
 */
import { Button } from '../../../shared/components/Button.jsx'
import { useMute, useReadJob } from '../../../shared/hooks/useNotifications.js'

export function JobNotifications({ jobId }) {
  useReadJob(jobId)
  const { muted, mute } = useMute(jobId)
  return (
    <div className="mt-5 flex flex-wrap items-center justify-between gap-x-4 gap-y-1 border-t border-line pt-3" data-testid="job-mute" data-muted={muted ?? 'unknown'}>
      <p className="text-sm text-ink-2">
        {muted ? 'You only hear of this job when you are needed.' : 'You hear of this job as far as it concerns you.'}
      </p>
      <Button weight="quiet" icon={muted ? 'mute' : 'bell'} aria-pressed={muted === true} disabled={muted === null} onClick={() => void mute(!muted)} className="-ml-3.5">
        {muted ? 'Muted' : 'Mute'}
      </Button>
    </div>
  )
}
