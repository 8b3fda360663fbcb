/** Another title for a job. */
import { useState } from 'react'

import { Dialog } from '../../../shared/components/Panel.jsx'
import { labelOf } from '../moves.js'
import { ActionForm, Field } from './Form.jsx'

/** As the schema has it. */
const MAX_TITLE = 255

export function RetitleDialog({ job, move, onClose }) {
  const [title, setTitle] = useState(job.title)
  return (
    <Dialog title={`Title of ${labelOf(job)}`} onClose={onClose} data-testid="title-dialog">
      <ActionForm label="Save" submit={() => move('title', { title: title.trim() })} onDone={onClose} onCancel={onClose}>
        <Field label="Title">
          {(wiring) => (
            <input {...wiring} data-autofocus="" className="field" required maxLength={MAX_TITLE} value={title} pattern=".*\S.*" autoComplete="off"
              onChange={({ target }) => setTitle(target.value)} />
          )}
        </Field>
      </ActionForm>
    </Dialog>
  )
}
