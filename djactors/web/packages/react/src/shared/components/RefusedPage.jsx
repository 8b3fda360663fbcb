/** Said while the server refuses the page for its Origin: it, why, and what mends it. The attempts go on meanwhile. */
import { useSocket } from '../hooks/useSocket.js'
import { Icon } from './Icon.jsx'

export function RefusedPage() {
  const { originRefused } = useSocket()
  if (!originRefused) return null
  return (
    <div data-testid="refused-page" role="alert" className="border-b border-line bg-warn-soft text-warn">
      <div className="mx-auto flex max-w-6xl items-start gap-2 px-4 py-2 text-sm sm:px-6">
        <Icon name="alert" className="mt-0.5 size-[18px] shrink-0" />
        <p className="min-w-0 break-words">
          The server refuses live updates to this page, because <strong>{location.origin}</strong> is not an origin that it
          allows. Whoever runs it can mend that: a proxy has to pass the Host header on unchanged, or the origin belongs into
          DJACTORS_ALLOWED_ORIGINS. The page connects by itself then.
        </p>
      </div>
    </div>
  )
}
