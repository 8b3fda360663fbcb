/**
 * Jobs, for components: a list by filter, or one of them. They are loaded while a component looks at them.
 *
 *     const { jobs, status } = useJobs({ assignee: 'me', status: null })
 *     const { job, move } = useJob(5)
 */
import { useEffect, useMemo } from 'react'
import { useStore } from 'zustand'

import { useDjactors } from '../DjactorsContext.js'
import { viewKey } from '../stores/jobStore.js'

const NOT_YET = { status: 'idle', nextBefore: null, more: 'idle' }

/** @param {{ assignee: 'me' | number | null, status: string | null }} filter */
export function useJobs({ assignee = null, status: only = null }) {
  const { client } = useDjactors()
  const { actions } = client.jobs
  const filter = useMemo(() => ({ assignee, status: only }), [assignee, only])
  const known = useStore(client.jobs, ({ jobs }) => jobs)
  const view = useStore(client.jobs, ({ views }) => views[viewKey(filter)]) ?? NOT_YET
  const touched = useStore(client.jobs, (state) => state.touched)
  useEffect(() => actions.openView(filter), [actions, filter])
  // The store selects; what it selects from are these two.
  // eslint-disable-next-line react-hooks/exhaustive-deps
  const jobs = useMemo(() => actions.select(filter), [actions, filter, known, view])
  return {
    jobs,
    /** idle, loading, ready, error. */
    status: view.status,
    hasMore: view.nextBefore !== null,
    more: view.more,
    /** `{ id, at }` of the job that an event changed last. */
    touched,
    load: () => actions.load(filter),
    loadMore: () => actions.loadMore(filter),
    create: actions.create,
  }
}

/** @param {number} id */
export function useJob(id) {
  const { client } = useDjactors()
  const { actions } = client.jobs
  const job = useStore(client.jobs, ({ jobs }) => jobs.get(id)) ?? null
  const status = useStore(client.jobs, ({ lookups }) => lookups[id]) ?? 'loading'
  useEffect(() => actions.openJob(id), [actions, id])
  return { job, status, load: () => actions.loadJob(id), move: (name, body) => actions.move(id, name, body) }
}
