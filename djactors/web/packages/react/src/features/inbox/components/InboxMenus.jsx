/** What opens beside a notification: more that can be done, the moments of a snooze, and the form for a moment of one's own. */
import { useState } from 'react'

import { Menu } from '../../../shared/components/Menu.jsx'
import { Dialog } from '../../../shared/components/Panel.jsx'
import { jobOf } from '../../../shared/components/kinds.js'
import { useMute } from '../../../shared/hooks/useNotifications.js'
import { serverNow } from '../../../shared/services/clock.js'
import { ActionForm, Field, fromLocalInput, localInput } from '../../jobs/components/Form.jsx'
import { expiryOf, momentsFor, momentText } from '../moments.js'

const MINUTE = 60_000 // ms
const inputAt = (moment) => localInput(new Date(moment).toISOString())

export const snoozedText = (moment) => `Snoozed until ${momentText(moment, serverNow())}.`

export function SnoozeMenu({ notification, anchor, onSnooze, onChoose, onClose }) {
  const [now] = useState(serverNow)
  const moments = momentsFor(now, expiryOf(notification))
  const items = moments.map(({ key, label, at }) => ({
    label,
    icon: { hour: 'clock', evening: 'moon', tomorrow: 'sun', week: 'calendar' }[key],
    hint: momentText(at, now).replace('tomorrow, ', ''),
    onSelect: () => onSnooze(at),
  }))
  return (
    <Menu label={`Snooze: ${notification.title}`} anchor={anchor} onClose={onClose}
      items={[...items, { label: 'Choose a moment…', icon: 'calendar', onSelect: onChoose }]} />
  )
}

export function SnoozeDialog({ notification, onSnooze, onClose }) {
  const [now] = useState(serverNow)
  const expiry = expiryOf(notification)
  const [value, setValue] = useState(() => inputAt(Math.min(now + 24 * 60 * MINUTE, expiry - MINUTE)))
  return (
    <Dialog title="Snooze until" onClose={onClose} data-testid="snooze-dialog">
      <ActionForm label="Snooze" onCancel={onClose}
        onDone={(moment) => {
          // Closed first: the focus is back where it was when the notification leaves its list.
          onClose()
          onSnooze(moment)
        }}
        submit={async () => {
          const moment = Date.parse(fromLocalInput(value))
          if (!(moment > serverNow())) throw new Error('That moment is past. Choose a later one.')
          if (moment >= expiry) throw new Error(`The notification is kept until ${momentText(expiry, now)}. Choose an earlier moment.`)
          return moment
        }}>
        <Field label="Moment" hint={`In your time zone, before ${momentText(expiry, now)}, when the notification leaves the inbox.`}>
          {(wiring) => (
            <input {...wiring} type="datetime-local" required data-autofocus="" className="field" value={value}
              min={inputAt(now + MINUTE)} max={inputAt(expiry - MINUTE)} onChange={({ target }) => setValue(target.value)} />
          )}
        </Field>
      </ActionForm>
    </Dialog>
  )
}

export function MoreMenu({ notification, anchor, onAct, onClose }) {
  const job = jobOf(notification)
  const { muted } = useMute(job)
  const { place, isRead } = notification
  const item = (act, label, icon, tone) => ({ label, icon, tone, onSelect: () => onAct(act) })
  const items = [
    ...(place === 'snoozed' ? [isRead ? item('unread', 'Mark as unread', 'unread') : item('read', 'Mark as read', 'check')] : []),
    ...(place === 'archived' ? [item('snooze', 'Snooze…', 'clock')] : []),
    ...(job === null
      ? []
      : [
          ...(place === 'inbox' ? [item('readJob', 'Read all of this job', 'checks')] : []),
          item('onlyJob', 'Only of this job', 'sliders'),
          muted ? item('unmute', 'Unmute this job', 'bell') : item('mute', 'Mute this job', 'mute'),
        ]),
    item('delete', 'Delete', 'trash', 'danger'),
  ]
  return <Menu label={`More: ${notification.title}`} anchor={anchor} items={items} onClose={onClose} />
}
