/**
 * Text that somebody else wrote, shown as text: markup stays markup to read, and its direction cannot spill over into
 * what stands beside it. With `links`, http and https addresses can be clicked; no other kind can.
 */
const ADDRESS = /https?:\/\/[^\s<>"'`\p{Cc}]+/giu

/** @returns {(string | { href: string, text: string })[]} */
export function splitLinks(text) {
  const parts = []
  let end = 0
  for (const match of text.matchAll(ADDRESS)) {
    // A sentence's full stop or bracket behind an address is not part of it.
    const address = match[0].replace(/[.,;:!?)\]}]+$/, '')
    let url
    try {
      url = new URL(address)
    } catch {
      continue
    }
    if (url.protocol !== 'https:' && url.protocol !== 'http:') continue
    if (match.index > end) parts.push(text.slice(end, match.index))
    parts.push({ href: url.href, text: address })
    end = match.index + address.length
  }
  if (end < text.length) parts.push(text.slice(end))
  return parts
}

/** A link to somewhere else, which learns nothing of the page. */
export function LinkOut({ href, text }) {
  return (
    <a href={href} target="_blank" rel="noopener noreferrer nofollow" className="focus-ring rounded text-accent-text underline underline-offset-2">
      {text}
    </a>
  )
}

export function SafeText({ children, links = false, className = '' }) {
  const text = String(children ?? '')
  return (
    <bdi dir="auto" className={`[overflow-wrap:anywhere] ${className}`}>
      {links
        ? splitLinks(text).map((part, place) => (typeof part === 'string' ? part : <LinkOut key={place} {...part} />))
        : text}
    </bdi>
  )
}
