/**
 * What is open above the page: panels that hold the keyboard. Toasts wait while there is one, as they would cover it.
 */
import { createStore } from 'zustand/vanilla'

/** The open panels, the latest last. */
export const layers = createStore(() => ({ panels: [] }))

/** @param {HTMLElement} panel @returns {() => void} closes it */
export function openLayer(panel) {
  layers.setState(({ panels }) => ({ panels: [...panels, panel] }))
  return () => layers.setState(({ panels }) => ({ panels: panels.filter((each) => each !== panel) }))
}

export const isTopLayer = (panel) => layers.getState().panels.at(-1) === panel
