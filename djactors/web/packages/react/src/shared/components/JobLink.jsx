/**
 * The way to a job: a link where the host has said what a job's address is (`jobHref`), so that it can be opened in a new tab,
 * copied and shared; else a button.
 *
 *     <JobLink id={5} onOpen={() => …}>Banner</JobLink>   onOpen instead of `onOpenJob`, for a plain click
 */
import { useDjactors } from '../DjactorsContext.js'
import { isPlainClick } from './clicks.js'

export function JobLink({ id, onOpen, children, ...rest }) {
  const { openJob, jobHref } = useDjactors()
  const open = onOpen ?? (() => openJob(id))
  const href = id === null ? null : jobHref?.(id)
  if (!href) return <button type="button" {...rest} onClick={open}>{children}</button>
  return (
    <a {...rest} href={href}
      onClick={(event) => {
        if (!isPlainClick(event)) return
        event.preventDefault()
        open()
      }}>
      {children}
    </a>
  )
}
