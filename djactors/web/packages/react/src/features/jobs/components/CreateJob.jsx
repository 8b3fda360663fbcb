/** The dialog that makes a job. `onCreated` gets it. */
import { useState } from 'react'

import { Dialog } from '../../../shared/components/Panel.jsx'
import { PersonField } from '../../../shared/components/PersonField.jsx'
import { useDjactors } from '../../../shared/DjactorsContext.js'
import { namesWatchers } from '../moves.js'
import { ActionForm, Field, fromLocalInput } from './Form.jsx'
import { PeopleField } from './PeopleField.jsx'

/** As the schema has it. */
const MAX_TITLE = 255

export function CreateJob({ onClose, onCreated }) {
  const { client } = useDjactors()
  const [title, setTitle] = useState('')
  const [assigneeId, setAssignee] = useState(null)
  const [approverId, setApprover] = useState(null)
  const [managerId, setManager] = useState(null)
  const [watchers, setWatchers] = useState([])
  const [deadline, setDeadline] = useState('')
  const create = () => {
    const body = { title: title.trim(), assigneeId, approverId, managerId, deadline: fromLocalInput(deadline) }
    if (watchers.length > 0) body.watcherIds = watchers.map(({ id }) => id)
    return client.jobs.actions.create(Object.fromEntries(Object.entries(body).filter(([, value]) => value !== null)))
  }
  return (
    <Dialog title="New job" onClose={onClose} data-testid="create-job">
      <ActionForm label="Create job" submit={create} onDone={onCreated} onCancel={onClose}>
        <Field label="Title">
          {(wiring) => (
            <input {...wiring} data-autofocus="" className="field" required maxLength={MAX_TITLE} value={title} pattern=".*\S.*"
              placeholder="What is to be made?" autoComplete="off" onChange={({ target }) => setTitle(target.value)} />
          )}
        </Field>
        <PersonField label="Assignee" optional value={assigneeId} onChange={setAssignee} hint="They are notified at once." />
        <PersonField label="Approver" optional value={approverId} onChange={setApprover} />
        <PersonField label="Manager" optional value={managerId} onChange={setManager} hint="They hear of it when the deadline has passed." />
        {namesWatchers(client.me) && <PeopleField label="Watchers" value={watchers} onChange={setWatchers} />}
        <Field label="Deadline" hint="In your time zone. The assignee hears of it 24 hours before, and when it has passed.">
          {(wiring) => (
            <input {...wiring} type="datetime-local" className="field" value={deadline}
              onChange={({ target }) => setDeadline(target.value)} />
          )}
        </Field>
      </ActionForm>
    </Dialog>
  )
}
