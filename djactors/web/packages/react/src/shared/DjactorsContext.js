/** The way from a component to its `DjactorsProvider`; see there. */
import { createContext, useContext } from 'react'

export const DjactorsContext = createContext(null)

/** @returns {{ client: ReturnType<typeof import('./services/client.js').createDjactors>, openJob: (id: number) => void, jobHref?: (id: number) => string }} */
export function useDjactors() {
  const value = useContext(DjactorsContext)
  if (value === null) throw new Error('djactors components need a <DjactorsProvider> above them')
  return value
}
