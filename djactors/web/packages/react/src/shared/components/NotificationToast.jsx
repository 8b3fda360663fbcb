/**
 * Toasts: what has just arrived, for a few seconds, in a corner.
 *
 *     <NotificationToasts />   once in a page; `onOpenInbox` where the host keeps whether the inbox is open
 *
 * Rules: bounded by the store. They leave by themselves, except for CRITICAL ones, which stay until they are dismissed or
 * read. Nothing leaves while the pointer or the keyboard is among them, or while nobody looks at the tab. Screen readers
 * hear each once: politely, a CRITICAL one at once. F8 goes to the newest, Escape dismisses it and goes back.
 * They never cover what is being done: see `useToastPlace`. What waits for that begins its time when it is shown, and what the
 * open inbox shows anyway gets no toast. While some stand below, a narrow page can be scrolled by as much as they cover.
 */
import { useEffect, useEffectEvent, useRef, useState } from 'react'
import { useStore } from 'zustand'

import { useDjactors } from '../DjactorsContext.js'
import { useArrivals } from '../hooks/useNotifications.js'
import { heightOf, useToastPlace } from '../hooks/useToastPlace.js'
import { announce } from './Announcer.jsx'
import { IconButton } from './Button.jsx'
import { Icon } from './Icon.jsx'
import { jobOf, kindOf } from './kinds.js'
import { SafeText } from './SafeText.jsx'

/** ms on the screen: long enough to read two lines twice. */
const STAY = { LOW: 5000, MEDIUM: 6000, HIGH: 8000 }

/** Calls `onEnd` once `length` ms have passed that were not paused. */
function useCountdown(length, paused, onEnd) {
  const left = useRef(length)
  const end = useEffectEvent(onEnd)
  useEffect(() => {
    if (paused || length === null) return undefined
    const started = performance.now()
    const timer = setTimeout(() => end(), left.current)
    return () => {
      clearTimeout(timer)
      left.current = Math.max(0, left.current - (performance.now() - started))
    }
  }, [paused, length])
}

/** One toast. */
export function NotificationToast({ notification, paused, onDismiss, onOpen }) {
  const { icon, tone } = kindOf(notification)
  const critical = notification.priority === 'CRITICAL'
  useCountdown(critical ? null : (STAY[notification.priority] ?? STAY.MEDIUM), paused, onDismiss)
  const leads = jobOf(notification) !== null
  return (
    <li data-testid="toast" data-notification-id={notification.id} data-priority={notification.priority}
      className={`pointer-events-auto flex animate-rise gap-3 rounded-2xl border bg-raised p-3.5 pr-2 shadow-float ${critical ? 'border-danger' : 'border-line'}`}>
      <span className={`grid size-9 shrink-0 place-items-center rounded-full ${tone}`}>
        <Icon name={icon} className="size-[18px]" />
      </span>
      <div className="min-w-0 flex-1 pt-0.5">
        {critical && <p className="text-[11px] font-bold tracking-wide text-danger uppercase">Critical</p>}
        <p className="text-sm leading-snug font-semibold text-ink"><SafeText>{notification.title}</SafeText></p>
        {notification.message && (
          <p className="mt-0.5 line-clamp-2 text-sm text-ink-2"><SafeText>{notification.message}</SafeText></p>
        )}
        {leads && (
          <button type="button" onClick={onOpen}
            className="focus-ring -ml-1.5 mt-1.5 inline-flex min-h-8 items-center gap-1 rounded-md px-1.5 text-sm font-semibold text-accent-text hover:bg-accent-soft">
            Open job <Icon name="arrow" className="size-4" />
          </button>
        )}
      </div>
      <IconButton label={`Dismiss: ${notification.title}`} title="Dismiss" icon="close" iconClass="size-[18px]"
        onClick={onDismiss} className="-mt-1 size-9!" />
    </li>
  )
}

function usePageHidden() {
  const [hidden, setHidden] = useState(() => document.hidden)
  useEffect(() => {
    const look = () => setHidden(document.hidden)
    document.addEventListener('visibilitychange', look)
    return () => document.removeEventListener('visibilitychange', look)
  }, [])
  return hidden
}

export function NotificationToasts({ onOpenInbox }) {
  const { client, openJob } = useDjactors()
  const toasts = useStore(client.notifications, (state) => state.toasts)
  const hiddenToasts = useStore(client.notifications, (state) => state.hiddenToasts)
  const { dismissToast, markRead, forgetHidden, setInboxOpen } = client.notifications.actions
  const [pointer, setPointer] = useState(false)
  const [keyboard, setKeyboard] = useState(false)
  const away = usePageHidden()
  const region = useRef(null)
  const before = useRef(null)
  const place = useToastPlace(region, toasts.length)
  // A toast that leaves takes its focus and its pointer along without telling.
  const some = toasts.length > 0 && place !== 'wait'
  const paused = some && (pointer || keyboard || away)

  useArrivals((notification) =>
    announce(
      [notification.title, notification.message].filter(Boolean).join('. '),
      notification.priority === 'CRITICAL' ? 'assertive' : 'polite',
    ),
  )

  const goBack = () => {
    setKeyboard(false)
    setPointer(false)
    const target = before.current
    before.current = null
    if (target?.isConnected) target.focus()
  }
  const onKeyDown = useEffectEvent((event) => {
    const inside = region.current?.contains(document.activeElement)
    if (event.key === 'F8' && some && !inside) {
      event.preventDefault()
      before.current = document.activeElement
      region.current.querySelector('li:last-of-type button')?.focus()
    } else if (event.key === 'Escape' && inside) {
      event.preventDefault()
      const id = Number(document.activeElement.closest('[data-notification-id]')?.dataset.notificationId)
      if (id) dismissToast(id)
      goBack()
    }
  })
  useEffect(() => {
    const listener = (event) => onKeyDown(event)
    // Before the panels below, which would close on the same Escape.
    document.addEventListener('keydown', listener, true)
    return () => document.removeEventListener('keydown', listener, true)
  }, [])

  const dismiss = (id) => {
    const inside = region.current?.contains(document.activeElement)
    dismissToast(id)
    if (toasts.length === 1 || inside) goBack()
  }
  const open = (notification) => {
    void markRead(notification.id)
    dismissToast(notification.id)
    setPointer(false)
    setKeyboard(false)
    openJob(jobOf(notification))
  }

  return (
    <>
      {some && place === 'bottom' && <div aria-hidden="true" className="lg:hidden" style={{ height: heightOf(toasts.length) }} />}
      <section ref={region} aria-label="New notifications (F8)" data-focus-layer="" data-testid="toasts" data-place={place}
        className={`pointer-events-none fixed inset-x-3 z-50 flex flex-col items-stretch gap-2.5 sm:inset-x-auto sm:right-5 sm:w-[380px] ${place === 'top' ? 'top-18' : 'bottom-3 sm:bottom-5'}`}
        onPointerEnter={() => setPointer(true)} onPointerLeave={() => setPointer(false)}
        onFocus={() => setKeyboard(true)} onBlur={() => setKeyboard(false)}>
        {some && hiddenToasts > 0 && (
          <button type="button" data-testid="toasts-hidden"
            onClick={() => {
              forgetHidden()
              if (onOpenInbox) onOpenInbox()
              else setInboxOpen(true)
            }}
            className="focus-ring pointer-events-auto self-end rounded-full border border-line bg-raised px-3.5 py-1.5 text-xs font-semibold text-ink shadow-float hover:bg-sunken">
            {hiddenToasts} more in the inbox
          </button>
        )}
        {/* Only there with toasts in it: an empty list is noise to a screen reader. A phone shows the two newest. */}
        {some && (
          <ol className="flex flex-col gap-2.5 max-sm:[&>li:nth-last-child(n+3)]:hidden">
            {toasts.map((notification) => (
              <NotificationToast key={notification.id} notification={notification} paused={paused}
                onDismiss={() => dismiss(notification.id)} onOpen={() => open(notification)} />
            ))}
          </ol>
        )}
      </section>
    </>
  )
}
