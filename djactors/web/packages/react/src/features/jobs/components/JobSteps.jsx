/** The way of a job from open to completed, and where it is on it. */
import { Icon } from '../../../shared/components/Icon.jsx'

const STEPS = ['Open', 'Assigned', 'Approval', 'Approved', 'Completed']
/** A cancelled job does not say how far it had come. */
const CANCELLED = ['Open', 'Cancelled']
const REACHED = { open: 0, assigned: 1, pending_approval: 2, rejected: 2, approved: 3, completed: 4 }

export function JobSteps({ status }) {
  const cancelled = status === 'cancelled'
  const steps = cancelled ? CANCELLED : STEPS
  const reached = cancelled ? 1 : (REACHED[status] ?? 0)
  const rejected = status === 'rejected'
  return (
    <ol aria-label="Progress" className="isolate flex">
      {steps.map((step, place) => {
        const here = place === reached
        const done = place < reached || status === 'completed'
        const failed = here && rejected
        const tone = here && cancelled ? 'bg-ink-2 text-surface' : failed ? 'bg-danger-fill text-white' : done || here ? 'bg-accent text-on-accent' : 'bg-sunken text-ink-2 ring-1 ring-line'
        return (
          <li key={step} aria-current={here ? 'step' : undefined} className="relative flex min-w-0 flex-1 flex-col items-center gap-2 text-center">
            {place > 0 && (
              <span aria-hidden="true" className={`absolute top-3.5 right-1/2 h-0.5 w-full ${place <= reached ? 'bg-accent' : 'bg-line'}`} />
            )}
            <span aria-hidden="true" className={`relative z-10 grid size-7 place-items-center rounded-full text-xs font-semibold transition-colors ${tone}`}>
              {failed || (here && cancelled) ? <Icon name="close" className="size-4" /> : done ? <Icon name="check" className="size-4" /> : place + 1}
            </span>
            <span className={`max-w-full text-[11px] max-[400px]:text-[10px] max-[400px]:tracking-tight sm:text-xs ${here ? 'font-semibold text-ink' : 'text-ink-2'}`}>
              {failed ? 'Rejected' : step}
              {done && <span className="sr-only">, done</span>}
            </span>
          </li>
        )
      })}
    </ol>
  )
}
