/**
 * The bar on top of every view: brand, ways to go, connection, bell, and a place for the host's account menu.
 *
 *     <TopBar brand={<Logo />} nav={[{ label, icon, href, current, onClick }]}>account menu</TopBar>
 *
 * Rules: `inboxOpen` and `onInbox` are for hosts that keep by themselves whether the inbox is open; see `NotificationBell`,
 * as for `badge`. Below
 * 640 px the ways to go are icons with names for screen readers.
 */
import { isPlainClick } from '../../shared/components/clicks.js'
import { ConnectionState } from '../../shared/components/ConnectionState.jsx'
import { Icon } from '../../shared/components/Icon.jsx'
import { NotificationBell } from '../../shared/components/NotificationBell.jsx'

export function Brand({ compact = false, className = '' }) {
  return (
    <span className={`flex items-center gap-2.5 ${className}`}>
      <span aria-hidden="true" className="grid size-8 place-items-center rounded-[10px] bg-accent text-on-accent">
        <Icon name="bell" className="size-[18px]" />
      </span>
      <span className={`text-[15px] font-bold tracking-tight ${compact ? 'max-sm:sr-only' : ''}`}>djactors</span>
    </span>
  )
}

function Way({ label, icon, href, current, onClick }) {
  return (
    <a href={href} aria-current={current ? 'page' : undefined} title={label}
      onClick={(event) => {
        if (onClick === undefined || !isPlainClick(event)) return
        event.preventDefault()
        onClick()
      }}
      className={`focus-ring flex h-10 items-center gap-2 rounded-[10px] px-2.5 text-sm font-medium transition-colors sm:px-3 ${current ? 'bg-sunken text-ink' : 'text-ink-2 hover:bg-sunken hover:text-ink'}`}>
      <Icon name={icon} className="size-[18px]" />
      <span className="max-sm:sr-only">{label}</span>
    </a>
  )
}

export function TopBar({ brand = <Brand compact className="sm:mr-2" />, nav = [], inboxOpen, onInbox, badge, children }) {
  return (
    <header className="sticky top-0 z-30 border-b border-line bg-surface/92 backdrop-blur">
      <div className="mx-auto flex h-16 max-w-6xl items-center gap-1.5 px-4 sm:gap-3 sm:px-6">
        {brand}
        <nav aria-label="Main" className="flex items-center gap-1">
          {nav.map((way) => (
            <Way key={way.label} {...way} />
          ))}
        </nav>
        <div className="ml-auto flex items-center gap-1 sm:gap-2">
          <ConnectionState />
          <NotificationBell open={inboxOpen} onOpenChange={onInbox} badge={badge} />
          {children}
        </div>
      </div>
    </header>
  )
}
