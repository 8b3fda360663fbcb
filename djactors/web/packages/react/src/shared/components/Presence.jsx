/** Whether somebody is connected: a full dot or a ring, so that it can be told without its colour, and a word beside it. */

/** For the corner of what is `relative`. @param {{ connected?: boolean, className?: string }} props */
export function PresenceDot({ connected, className = '' }) {
  if (connected === undefined) return null
  return (
    <span aria-hidden="true" data-testid="presence" data-connected={connected}
      className={`block size-2 rounded-full border-[1.5px] ${connected ? 'border-ok bg-ok' : 'border-line-strong bg-surface'} ${className}`} />
  )
}

/** The same as a word. */
export const presenceWord = (connected) => (connected === undefined ? '' : connected ? 'online' : 'offline')
