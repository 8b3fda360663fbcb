/**
 * Views that are parts of their own of the page: fetched when they are needed, so that the page is there sooner, and again where
 * that failed.
 */
import { useEffect, useState } from 'react'

import { Failed, Skeleton } from '#modules/shared/components/States.jsx'

/**
 * @param {() => Promise<import('react').ComponentType>} load imports the view
 * @param {string} name of the view, as in "the job"
 * @returns {[import('react').ComponentType, () => Promise<void>]} the view, and a function that fetches it ahead; it rejects
 *   where that failed, and can be called again then
 */
export function partOf(load, name) {
  let There = null
  let fetching = null
  const fetchPart = () => {
    fetching ??= load().then(
      (view) => {
        There = view
      },
      (error) => {
        fetching = null
        throw error
      },
    )
    return fetching
  }
  function Part(props) {
    const [state, setState] = useState(There === null ? 'fetching' : 'there')
    useEffect(() => {
      if (state !== 'fetching') return undefined
      let gone = false
      const become = (next) => () => gone || setState(next)
      fetchPart().then(become('there'), become('failed'))
      return () => {
        gone = true
      }
    }, [state])
    if (state === 'there') return <There {...props} />
    return (
      <main className="mx-auto max-w-6xl p-6">
        <h1 className="sr-only">{name}</h1>
        {state === 'failed' ? (
          <Failed onRetry={() => setState('fetching')}>This part of the page, {name}, could not be fetched. If trying again does not help, reload the page.</Failed>
        ) : (
          <Skeleton label={`Loading ${name}`} />
        )}
      </main>
    )
  }
  return [Part, fetchPart]
}
