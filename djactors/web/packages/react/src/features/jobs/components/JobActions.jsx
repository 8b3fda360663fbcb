/**
 * What the signed-in person can do to a job now. What needs an answer opens a dialog; what does not is one click.
 *
 * Rules: a button is busy until the server has answered, and what it refuses is said beside the buttons.
 */
import { useState } from 'react'

import { announce } from '../../../shared/components/Announcer.jsx'
import { Button } from '../../../shared/components/Button.jsx'
import { Dialog } from '../../../shared/components/Panel.jsx'
import { PersonField } from '../../../shared/components/PersonField.jsx'
import { Refusal } from '../../../shared/components/Refusal.jsx'
import { useDjactors } from '../../../shared/DjactorsContext.js'
import { labelOf, movesFor } from '../moves.js'
import { ActionForm, Field, fromLocalInput, localInput } from './Form.jsx'

/** As the schema has it. */
const MAX_REASON = 4000

function AssignDialog({ job, move, onClose }) {
  const [assigneeId, setAssignee] = useState(job.assigneeId)
  return (
    <Dialog title={`Assign ${labelOf(job)}`} onClose={onClose} data-testid="assign-dialog">
      <ActionForm label="Assign" submit={() => move('assign', { assigneeId })} onDone={onClose} onCancel={onClose}>
        <PersonField label="Assignee" value={assigneeId} name={job.assigneeName} onChange={setAssignee} takesFocus hint="They are notified at once." />
      </ActionForm>
    </Dialog>
  )
}

function SubmitDialog({ job, move, onClose }) {
  const [approverId, setApprover] = useState(job.approverId)
  return (
    <Dialog title={`Submit ${labelOf(job)} for approval`} onClose={onClose} data-testid="submit-dialog">
      <ActionForm label="Submit" submit={() => move('submit', { approverId })} onDone={onClose} onCancel={onClose}>
        <PersonField label="Approver" value={approverId} name={job.approverName} onChange={setApprover} takesFocus hint="They are asked at once." />
      </ActionForm>
    </Dialog>
  )
}

function RejectDialog({ job, move, onClose }) {
  const [reason, setReason] = useState('')
  const body = reason.trim() === '' ? {} : { reason: reason.trim() }
  return (
    <Dialog title={`Reject ${labelOf(job)}`} onClose={onClose} data-testid="reject-dialog">
      <ActionForm label="Reject job" weight="danger" submit={() => move('reject', body)} onDone={onClose} onCancel={onClose}>
        <Field label="Reason" hint="The requester and the assignee read it. What would make it right?">
          {(wiring) => (
            <textarea {...wiring} data-autofocus="" className="field min-h-28" maxLength={MAX_REASON} value={reason}
              onChange={({ target }) => setReason(target.value)} />
          )}
        </Field>
      </ActionForm>
    </Dialog>
  )
}

function CancelDialog({ job, move, onClose }) {
  const [reason, setReason] = useState('')
  const body = reason.trim() === '' ? {} : { reason: reason.trim() }
  return (
    <Dialog title={`Cancel ${labelOf(job)}?`} onClose={onClose} data-testid="cancel-dialog">
      <ActionForm label="Cancel job" dismiss="Keep job" weight="danger" submit={() => move('cancel', body)} onDone={onClose} onCancel={onClose}>
        <p className="text-sm text-ink-2">Its alerts end, and nobody can work on it any more. This cannot be taken back.</p>
        <Field label="Reason" hint="It becomes a comment, and the watchers are notified of it. May be left empty.">
          {(wiring) => (
            <textarea {...wiring} data-autofocus="" className="field min-h-24" maxLength={MAX_REASON} value={reason}
              onChange={({ target }) => setReason(target.value)} />
          )}
        </Field>
      </ActionForm>
    </Dialog>
  )
}

function DeadlineDialog({ job, move, onClose }) {
  const [deadline, setDeadline] = useState(localInput(job.deadline))
  return (
    <Dialog title={`Deadline of ${labelOf(job)}`} onClose={onClose} data-testid="deadline-dialog">
      <ActionForm label="Save" submit={() => move('deadline', { deadline: fromLocalInput(deadline) })} onDone={onClose} onCancel={onClose}>
        <Field label="Deadline" hint="In your time zone. Empty for none.">
          {(wiring) => (
            <input {...wiring} type="datetime-local" data-autofocus="" className="field" value={deadline}
              onChange={({ target }) => setDeadline(target.value)} />
          )}
        </Field>
      </ActionForm>
    </Dialog>
  )
}

const DIALOGS = { assign: AssignDialog, submit: SubmitDialog, reject: RejectDialog, deadline: DeadlineDialog, cancel: CancelDialog }

export function JobActions({ job, move }) {
  const { client } = useDjactors()
  const [dialog, setDialog] = useState(null)
  const [busy, setBusy] = useState(null)
  const [error, setError] = useState(null)
  const offered = movesFor(job, client.me)
  const watching = job.watcherIds?.includes(client.me?.userId) ?? false

  const act = async (name, said) => {
    setBusy(name)
    setError(null)
    try {
      await move(name)
      announce(said)
    } catch (refusal) {
      setError(refusal)
    } finally {
      setBusy(null)
    }
  }
  const one = (name, label, rest, onClick) =>
    offered.has(name) && (
      <Button key={name} busy={busy === name} disabled={busy !== null} {...rest}
        onClick={onClick ?? (() => void act(name, `${labelOf(job)}: ${label.toLowerCase()} done.`))}>
        {label}
      </Button>
    )
  const Chosen = DIALOGS[dialog]
  return (
    <div data-testid="job-actions">
      <div className="flex flex-wrap gap-2">
        {one('approve', 'Approve', { weight: 'primary', icon: 'check' })}
        {one('reject', 'Reject', { weight: 'danger', icon: 'close' }, () => setDialog('reject'))}
        {one('submit', 'Submit for approval', { weight: 'primary', icon: 'arrow' }, job.approverId === null ? () => setDialog('submit') : undefined)}
        {one('assign', job.assigneeId === null ? 'Assign' : 'Reassign',
          { weight: job.status === 'open' ? 'primary' : 'secondary', icon: 'user' }, () => setDialog('assign'))}
        {one('complete', 'Complete', { weight: job.status === 'approved' ? 'primary' : 'secondary', icon: 'checks' })}
        {one('deadline', job.deadline ? 'Move deadline' : 'Set deadline', { icon: 'calendar' }, () => setDialog('deadline'))}
        <Button weight="quiet" icon="eye" aria-pressed={watching} busy={busy === 'watch' || busy === 'unwatch'} disabled={busy !== null}
          onClick={() => void act(watching ? 'unwatch' : 'watch', watching ? 'You no longer watch it.' : 'You watch it now.')}>
          {watching ? 'Watching' : 'Watch'}
        </Button>
        {one('cancel', 'Cancel job', { weight: 'quiet', icon: 'ban' }, () => setDialog('cancel'))}
      </div>
      <Refusal error={error} className="mt-3" />
      {Chosen && <Chosen job={job} move={move} onClose={() => setDialog(null)} />}
    </div>
  )
}
