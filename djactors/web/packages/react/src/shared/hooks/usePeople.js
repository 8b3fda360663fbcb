/**
 * People, for components.
 *
 *     const { people, status } = usePeopleSearch('mar')      // people whose name begins so
 *     const connected = usePresence(4, 'Nok')                // true, false, or undefined where it is not known
 */
import { useEffect, useState } from 'react'
import { useStore } from 'zustand'

import { useDjactors } from '../DjactorsContext.js'

/** ms without a key before the server is asked. */
const DEBOUNCE = 200
/** People who are shown of a search; whoever looks for another types more of the name. */
const MAX_FOUND = 8

const NOTHING = { query: null, status: 'loading', people: [], hasMore: false, error: null }

/**
 * Whether somebody is connected now, as long as the component is there.
 * @param {number | null} id
 * @param {string | null} [name] by which the server finds them; without it only what is known already is told
 * @returns {boolean | undefined}
 */
export function usePresence(id, name) {
  const { client } = useDjactors()
  const { actions } = client.people
  useEffect(() => actions.look(), [actions])
  useEffect(() => (id && name ? actions.want(id, name) : undefined), [actions, id, name])
  return useStore(client.people, ({ connected }) => connected.get(id))
}

/**
 * People by the beginning of a name. An answer to another query than the present one is never shown as its answer.
 * @param {string | null} query null asks for nothing; an empty one for the first of all
 */
export function usePeopleSearch(query) {
  const { client } = useDjactors()
  const { search, look } = client.people.actions
  const [found, setFound] = useState(NOTHING)
  const [tries, setTries] = useState(0)
  const asks = query !== null
  useEffect(() => (asks ? look() : undefined), [look, asks])
  useEffect(() => {
    if (query === null) return undefined
    let current = true
    const ask = async () => {
      try {
        const { items, nextBefore } = await search(query, { limit: MAX_FOUND })
        if (current) setFound({ ...NOTHING, query, status: 'ready', people: items, hasMore: nextBefore !== null })
      } catch (error) {
        if (current) setFound({ ...NOTHING, query, status: 'error', error })
      }
    }
    const timer = setTimeout(ask, query === '' ? 0 : DEBOUNCE)
    return () => {
      current = false
      clearTimeout(timer)
    }
  }, [search, query, tries])
  const answered = asks && found.query === query
  return {
    /** The answer to `query`; none while there is no answer yet. */
    people: answered ? found.people : NOTHING.people,
    /** What was found last, to be seen while there is no answer yet. */
    last: found.people,
    /** idle, loading, ready, error. */
    status: answered ? found.status : asks ? 'loading' : 'idle',
    /** Whether there are more than these. */
    hasMore: answered && found.hasMore,
    error: answered ? found.error : null,
    /** Ask again, after an error. */
    retry() {
      setFound(NOTHING)
      setTries((before) => before + 1)
    },
  }
}
