/**
 * The live actor tree: asked for once a second while somebody looks at the page, with the last two minutes of it.
 *
 * Rules: one request at a time. The server keeps the counters of the last two minutes: the first look asks for them, and so does
 * one after a pause or a restart of the server, so that charts are never empty. A tab that is hidden asks for nothing.
 */
import { useEffect, useState } from 'react'

import { useDjactors } from '../../shared/DjactorsContext.js'
import { LIMITS, newRestarts, point, pointsOf } from './model.js'

const PACE = 1000 // ms
const KEPT = 120 // points: two minutes
/** ms without an answer after which that is what is wrong. */
const PATIENCE = 4000

/** ms without a look after which the points since then are asked for. */
const PAUSE = 3 * PACE

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
        const history = before === null || Date.now() - before.at > PAUSE
        const { history: past, ...answer } = await client.api.actors({ history })
        const at = Date.now()
        answeredAt = at
        const now = { at, answer }
        const from = before
        const restarted = from !== null && from.answer.startedAt !== answer.startedAt
        // Without its past: the next look asks for it.
        before = restarted && !history ? null : now
        const earlier = past ? pointsOf(past, now) : null
        if (!stopped) {
          setSeen(({ points, recent }) => ({
            answer,
            points: (earlier ?? [...(restarted ? [] : points), point(now, from)]).slice(-KEPT),
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
      answeredAt = Date.now()
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
