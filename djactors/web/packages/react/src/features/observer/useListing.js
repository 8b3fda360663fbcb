/**
 * A list that is paged and not live: what is loaded when somebody looks, and more of it when they ask. For the admin's lists.
 */
import { useEffect, useState } from 'react'

const NOTHING = { key: null, status: 'loading', items: [], nextBefore: null, more: 'idle', error: null }

/**
 * @param {(before?: string | number) => Promise<{ items: object[], nextBefore: any }>} page the same function as long as the list is the same
 * @param {number} [delay] ms before the first page is asked for
 */
export function useListing(page, delay = 0) {
  const [list, setList] = useState(NOTHING)
  const [tries, setTries] = useState(0)
  useEffect(() => {
    let current = true
    const timer = setTimeout(async () => {
      try {
        const { items, nextBefore } = await page()
        if (current) setList({ ...NOTHING, key: page, status: 'ready', items, nextBefore })
      } catch (error) {
        if (current) setList({ ...NOTHING, key: page, status: 'error', error })
      }
    }, delay)
    return () => {
      current = false
      clearTimeout(timer)
    }
  }, [page, delay, tries])
  const shown = list.key === page ? list : NOTHING
  return {
    ...shown,
    hasMore: shown.nextBefore !== null,
    reload() {
      setList(NOTHING)
      setTries(tries + 1)
    },
    async loadMore() {
      setList((before) => ({ ...before, more: 'loading' }))
      let next = null
      try {
        next = await page(shown.nextBefore)
      } catch {
        // Said by `more`.
      }
      setList((before) => {
        if (before.key !== page || before.nextBefore !== shown.nextBefore) return before
        return next === null ? { ...before, more: 'error' } : { ...before, items: [...before.items, ...next.items], nextBefore: next.nextBefore, more: 'idle' }
      })
    },
    /** Change an item by its id. */
    amend: (id, part) => setList((before) => ({ ...before, items: before.items.map((item) => (item.id === id ? { ...item, ...part } : item)) })),
  }
}
