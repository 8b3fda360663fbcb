/** Who is signed in, and the few settings of this browser. */
import { useEffect, useRef, useState } from 'react'

import { Button } from '#modules/shared/components/Button.jsx'
import { Icon } from '#modules/shared/components/Icon.jsx'
import { Avatar } from '#modules/shared/components/Person.jsx'
import { SafeText } from '#modules/shared/components/SafeText.jsx'
import { Segments } from '#modules/shared/components/Segments.jsx'
import { useDjactors } from '#modules/shared/DjactorsContext.js'
import { useFocusTrap } from '#modules/shared/hooks/useFocusTrap.js'
import { prefer, usePreferences } from './preferences.js'
import { signOut } from './session.js'
import { browserPermission, chime } from './signals.js'

const THEMES = [
  ['system', 'System'],
  ['light', 'Light'],
  ['dark', 'Dark'],
]

const BADGES = [
  ['unread', 'Unread'],
  ['unseen', 'New'],
]

function Switch({ label, hint, icon, checked, disabled, onChange }) {
  return (
    <button type="button" role="switch" aria-checked={checked} aria-label={label} disabled={disabled} onClick={() => onChange(!checked)}
      className="focus-ring flex min-h-12 w-full items-center gap-3 rounded-[10px] px-2 py-1.5 text-left text-sm hover:bg-sunken disabled:opacity-60">
      <Icon name={icon} className="size-[18px] text-ink-2" />
      <span className="flex-1">
        {label}
        {hint && <span className="block text-xs text-ink-2">{hint}</span>}
      </span>
      <span aria-hidden="true" className={`flex h-5.5 w-9.5 items-center rounded-full p-0.5 transition-colors ${checked ? 'bg-accent' : 'bg-line-strong'}`}>
        <span className={`size-4.5 rounded-full bg-white shadow-card transition-transform ${checked ? 'translate-x-4' : ''}`} />
      </span>
    </button>
  )
}

function Menu({ me, name, onClose }) {
  const ref = useRef(null)
  const { theme, badge, sound, browser } = usePreferences()
  const [permission, setPermission] = useState(browserPermission)
  useFocusTrap(ref, onClose)
  useEffect(() => {
    const beside = ({ target }) => {
      if (!ref.current.parentElement.contains(target)) onClose()
    }
    document.addEventListener('pointerdown', beside)
    return () => document.removeEventListener('pointerdown', beside)
  }, [onClose])

  const askBrowser = async (on) => {
    if (on && browserPermission() === 'default') await Notification.requestPermission()
    setPermission(browserPermission())
    prefer({ browser: on && browserPermission() === 'granted' })
  }
  const blocked = { denied: 'Blocked in the browser’s own settings', unsupported: 'This browser has none' }[permission]
  return (
    <section ref={ref} role="dialog" aria-label="Settings" tabIndex={-1} data-testid="settings"
      className="absolute top-full right-0 z-40 mt-2 w-[min(300px,calc(100vw-2rem))] animate-rise rounded-2xl border border-line bg-raised p-4 shadow-float outline-none">
      <div className="mb-4 flex items-center gap-3 px-1">
        <Avatar id={me.userId} name={name} className="size-10 text-sm" />
        <div className="min-w-0 text-sm leading-snug">
          <p className="truncate font-semibold"><SafeText>{name}</SafeText></p>
          <p className="text-xs text-ink-2">{me.role} · tenant {me.tenantId}</p>
        </div>
      </div>
      <Segments label="Theme" options={THEMES} value={theme} onChange={(chosen) => prefer({ theme: chosen })} className="[&_label]:flex-1" />
      <div className="mt-3 flex items-center gap-3 px-2 text-sm">
        <Icon name="bell" className="size-[18px] text-ink-2" />
        <span className="flex-1 whitespace-nowrap" aria-hidden="true">Bell counts</span>
        <Segments label="The bell counts" options={BADGES} value={badge} onChange={(chosen) => prefer({ badge: chosen })} />
      </div>
      <div className="mt-1.5">
        <Switch label="Sound" icon="sound" checked={sound}
          onChange={(on) => {
            prefer({ sound: on })
            if (on) chime()
          }} />
        <Switch label="Browser notifications" icon="screen" hint={blocked ?? 'While you are in another tab'} disabled={blocked !== undefined}
          checked={browser && permission === 'granted'} onChange={(on) => void askBrowser(on)} />
      </div>
      <div className="mt-3 border-t border-line pt-3">
        <Button weight="quiet" icon="exit" className="w-full justify-start! px-2!" onClick={() => signOut('signed_out')}>Sign out</Button>
      </div>
    </section>
  )
}

export function AccountMenu() {
  const { client } = useDjactors()
  const [open, setOpen] = useState(false)
  const [close] = useState(() => () => setOpen(false))
  const name = client.personName(client.me.userId)
  return (
    <div className="relative">
      <button type="button" aria-haspopup="dialog" aria-expanded={open} onClick={() => setOpen(!open)}
        className="focus-ring grid size-10 place-items-center rounded-full">
        <span className="sr-only">Account and settings</span>
        <Avatar id={client.me.userId} name={name} className="size-8 text-xs" />
      </button>
      {open && <Menu me={client.me} name={name} onClose={close} />}
    </div>
  )
}
