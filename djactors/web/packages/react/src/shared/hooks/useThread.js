/**
 * The comments on a job, for components. They are loaded and kept right while a component looks at them.
 *
 *     const { comments, status, hasMore, loadMore } = useThread(5)
 */
import { useEffect } from 'react'
import { useStore } from 'zustand'

import { useDjactors } from '../DjactorsContext.js'

const NOT_YET = { status: 'loading', error: null, comments: [], nextBefore: null, more: 'idle' }

/** @param {number} jobId */
export function useThread(jobId) {
  const { client } = useDjactors()
  const { actions } = client.threads
  const { comments, status, error, nextBefore, more } = useStore(client.threads, (threads) => threads[jobId]) ?? NOT_YET
  useEffect(() => actions.open(jobId), [actions, jobId])
  return {
    /** Newest first. */
    comments,
    /** loading, ready, error. */
    status,
    error,
    hasMore: nextBefore !== null,
    /** idle, loading, error: of the older ones. */
    more,
    load: () => actions.load(jobId),
    loadMore: () => actions.loadMore(jobId),
    /** Write one. `mentions` are ids of people. Rejects with an `ApiError`. */
    async add(text, mentions = []) {
      await client.jobs.actions.move(jobId, 'comments', mentions.length > 0 ? { text, mentions } : { text })
      // The event brings it as well; where it is slow or there is no connection, this does.
      await actions.load(jobId)
    },
  }
}
