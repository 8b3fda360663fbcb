/**
 * The live actor tree: asked for once a second while somebody looks at the page, with the last two minutes of it.
 *
 * Rules: one request at a time; a tab that is hidden asks for nothing, and starts its charts anew when it is back, as after a
 * restart of the server.
 */
import { useEffect, useState } from 'react'

import { useDjactors } from '../../shared/DjactorsContext.js'
import { LIMITS, newRestarts, point } from './model.js'

const PACE = 1000 // ms
const KEPT = 120 // points: two minutes
/** ms without an answer after which that is what is wrong. */
const PATIENCE = 4000

const NOTHING = { answer: null, points: [], recent: [], error: null, lost: false }

export function useActors() {
  const { client } = useDjactors()
  const [seen, setSeen] = useState(NOTHING)
  useEffect(() => {
    let timer = null
    let stopped = false
    let before = null
    let answeredAt = Date.now()

    async function look() {
      try {
        const answer = await client.api.actors()
        const at = Date.now()
        answeredAt = at
        const now = { at, answer }
        const from = before
        before = now
        if (!stopped) {
          const restarted = from !== null && from.answer.startedAt !== answer.startedAt
          setSeen(({ points, recent }) => ({
            answer,
            points: [...(restarted ? [] : points), point(now, from)].slice(-KEPT),
            recent: [...(restarted ? [] : recent), ...newRestarts(answer, from?.answer).map((each) => ({ ...each, at }))].filter(
              (each) => at - each.at < LIMITS.recent,
            ),
            error: null,
            lost: false,
          }))
        }
      } catch (error) {
        if (!stopped) setSeen((known) => ({ ...known, error, lost: Date.now() - answeredAt > PATIENCE || known.answer === null }))
      }
      if (!stopped && !document.hidden) timer = setTimeout(look, PACE)
      else timer = null
    }
    const onVisible = () => {
      if (document.hidden || timer !== null || stopped) return
      before = null
      answeredAt = Date.now()
      setSeen((known) => ({ ...known, points: [] }))
      timer = setTimeout(look, 0)
    }
    document.addEventListener('visibilitychange', onVisible)
    timer = setTimeout(look, 0)
    return () => {
      stopped = true
      clearTimeout(timer)
      document.removeEventListener('visibilitychange', onVisible)
    }
  }, [client])
  return seen
}
