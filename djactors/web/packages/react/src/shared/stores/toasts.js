/**
 * The toasts of what has just arrived, in the state of a store: `toasts`, and `hiddenToasts` for those that did not fit.
 *
 * Rules: they are bounded. CRITICAL ones stay, and go last.
 */

/** Toasts on the screen; what is beyond is counted, and is in the inbox. */
export const MAX_TOASTS = 4

export const isCritical = (notification) => notification.priority === 'CRITICAL'

export function createToasts({ getState, setState }) {
  const leave = (stays) => {
    const toasts = getState().toasts.filter(stays)
    setState({ toasts, hiddenToasts: toasts.length === 0 ? 0 : getState().hiddenToasts })
  }
  return {
    add(notification) {
      let { toasts, hiddenToasts } = getState()
      toasts = [...toasts.filter(({ id }) => id !== notification.id), notification]
      while (toasts.length > MAX_TOASTS) {
        const leaving = toasts.find((each) => !isCritical(each)) ?? toasts[0]
        toasts = toasts.filter((each) => each !== leaving)
        hiddenToasts += 1
      }
      setState({ toasts, hiddenToasts })
    },
    dismiss: (id) => leave((each) => each.id !== id),
    /** Only those stay that `stays` says so of. */
    leave,
    /** A notification takes over the toast of another, if that is still to be seen. */
    replace(id, notification) {
      const { toasts } = getState()
      if (toasts.some((each) => each.id === id)) {
        setState({ toasts: toasts.map((each) => (each.id === id ? notification : each)) })
      }
    },
    /** Forget those that did not fit. */
    forgetHidden: () => setState({ hiddenToasts: 0 }),
  }
}
