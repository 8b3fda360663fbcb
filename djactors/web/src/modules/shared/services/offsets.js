/**
 * Offsets: the last argument of every server event, a string `EPOCH.SEQ`.
 *
 * EPOCH is a mark of the database, SEQ the number of a change in it. Numbers of two epochs cannot be compared.
 */

/** @returns {{ epoch: string, seq: number } | null} null for anything that is not an offset */
export function parseOffset(offset) {
  if (typeof offset !== 'string') return null
  const dot = offset.lastIndexOf('.')
  const digits = offset.slice(dot + 1)
  if (dot < 1 || !/^\d{1,16}$/.test(digits)) return null
  return { epoch: offset.slice(0, dot), seq: Number(digits) }
}

/** The earliest of some offsets of one epoch; undefined if there is none, or if they are of several. */
export function earliest(offsets) {
  const known = offsets.filter(parseOffset)
  if (new Set(known.map((offset) => parseOffset(offset).epoch)).size !== 1) return undefined
  return known.reduce((least, offset) => (parseOffset(offset).seq < parseOffset(least).seq ? offset : least))
}
