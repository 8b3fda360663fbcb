/** Where the page is: `/`, `/#/jobs/5`, `/observer`. Three views need no router. */
import { useMemo, useSyncExternalStore } from 'react'

const changed = new EventTarget()

function subscribe(listener) {
  addEventListener('popstate', listener)
  addEventListener('hashchange', listener)
  changed.addEventListener('change', listener)
  return () => {
    removeEventListener('popstate', listener)
    removeEventListener('hashchange', listener)
    changed.removeEventListener('change', listener)
  }
}

export function parseRoute(path) {
  if (/^\/observer\/?($|[?#])/.test(path)) return { view: 'observer' }
  const job = /#\/jobs\/([1-9]\d{0,15})$/.exec(path)
  return job ? { view: 'job', id: Number(job[1]) } : { view: 'queue' }
}

export function navigate(path) {
  history.pushState(null, '', path)
  scrollTo(0, 0)
  changed.dispatchEvent(new Event('change'))
}

export function useRoute() {
  const path = useSyncExternalStore(subscribe, () => location.pathname + location.hash)
  return useMemo(() => parseRoute(path), [path])
}
