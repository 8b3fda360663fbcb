/** Buttons of one size and four weights, and the square ones that hold an icon and need a `label`. */
import { Icon } from './Icon.jsx'

const WEIGHTS = {
  primary: 'bg-accent text-on-accent hover:bg-accent-strong shadow-card',
  secondary: 'border border-line bg-surface text-ink hover:bg-sunken shadow-card',
  quiet: 'text-ink-2 hover:bg-sunken hover:text-ink',
  danger: 'border border-line bg-surface text-danger hover:bg-danger-soft shadow-card',
}
const BASE =
  'focus-ring inline-flex min-h-10 items-center justify-center gap-2 rounded-[10px] px-3.5 text-sm font-medium whitespace-nowrap transition-colors disabled:opacity-55 disabled:pointer-events-none'

export function Button({ weight = 'secondary', icon, busy = false, className = '', children, ...rest }) {
  return (
    <button type="button" {...rest} className={`${BASE} ${WEIGHTS[weight]} ${className}`} aria-busy={busy || undefined}
      disabled={busy || rest.disabled}>
      {icon && <Icon name={icon} className="size-[18px]" />}
      {children}
    </button>
  )
}

export function IconButton({ label, icon, className = '', iconClass = 'size-5', ...rest }) {
  return (
    <button type="button" aria-label={label} title={label} {...rest}
      className={`focus-ring grid size-10 shrink-0 place-items-center rounded-[10px] text-ink-2 transition-colors hover:bg-sunken hover:text-ink ${className}`}>
      <Icon name={icon} className={iconClass} />
    </button>
  )
}
