/**
 * What opens above the page: `Dialog` in the middle, `Sheet` from the right. Both hold the keyboard, close with Escape
 * and by a click beside them, and give focus back.
 */
import { useId, useRef } from 'react'
import { createPortal } from 'react-dom'

import { useFocusTrap } from '../hooks/useFocusTrap.js'
import { IconButton } from './Button.jsx'

function Layer({ title, onClose, children, place, shape, ...rest }) {
  const ref = useRef(null)
  const titleId = useId()
  useFocusTrap(ref, onClose)
  return createPortal(
    <div data-dj-layer="" className={`fixed inset-0 z-40 flex ${place}`}>
      <div className="absolute inset-0 animate-fade bg-[rgb(8_10_16/50%)]" onClick={onClose} aria-hidden="true" />
      <section ref={ref} role="dialog" aria-modal="true" aria-labelledby={titleId} tabIndex={-1} {...rest}
        className={`relative flex min-h-0 flex-col bg-raised text-ink shadow-float outline-none ${shape}`}>
        {children({ titleId, title })}
      </section>
    </div>,
    document.body,
  )
}

/** `header` and `footer` stay while the rest scrolls. */
export function Sheet({ title, header, footer, onClose, children, ...rest }) {
  return (
    <Layer title={title} onClose={onClose} place="justify-end" {...rest}
      shape="h-dvh w-full max-w-[440px] animate-slide sm:border-l sm:border-line">
      {({ titleId }) => (
        <>
          <div className="border-b border-line px-5 pt-4 pb-3">
            <div className="flex items-center gap-2">
              <h2 id={titleId} className="flex-1 text-lg font-semibold tracking-tight">{title}</h2>
              <IconButton label="Close" icon="close" onClick={onClose} className="-mr-2" />
            </div>
            {header}
          </div>
          <div className="min-h-0 flex-1 overflow-y-auto overscroll-contain">{children}</div>
          {footer}
        </>
      )}
    </Layer>
  )
}

export function Dialog({ title, onClose, children, ...rest }) {
  return (
    <Layer title={title} onClose={onClose} place="items-end justify-center sm:items-center sm:p-6" {...rest}
      shape="max-h-[92dvh] w-full max-w-lg animate-rise rounded-t-2xl sm:rounded-2xl">
      {({ titleId }) => (
        <>
          <div className="flex items-center gap-2 px-6 pt-5 pb-1">
            <h2 id={titleId} className="flex-1 text-lg font-semibold tracking-tight">{title}</h2>
            <IconButton label="Close" icon="close" onClick={onClose} className="-mr-2" />
          </div>
          <div className="min-h-0 overflow-y-auto px-6 pt-2 pb-6">{children}</div>
        </>
      )}
    </Layer>
  )
}
