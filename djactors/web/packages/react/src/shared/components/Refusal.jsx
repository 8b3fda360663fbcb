/** What the server refused, or what else went wrong, said where it was asked for. */
import { useDjactors } from '../DjactorsContext.js'
import { wordsOf } from '../services/refusals.js'
import { SafeText } from './SafeText.jsx'

/** @param {{ error: Error | null, className?: string }} props */
export function Refusal({ error, className = '' }) {
  const { client } = useDjactors()
  if (!error) return null
  return (
    <p role="alert" className={`rounded-[10px] bg-danger-soft px-3.5 py-2.5 text-sm text-danger ${className}`}>
      <SafeText>{wordsOf(error, client.personName)}</SafeText>
    </p>
  )
}
