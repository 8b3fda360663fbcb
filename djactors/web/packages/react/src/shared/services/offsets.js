/**
 * Offsets: the last argument of every server event, a string `MARK.SEQ`; `.0` before any change.
 *
 * SEQ is the number of a change, MARK a hash of the whole past up to it. Of two offsets the numbers say which is the later,
 * if both are of one past; whether an offset is of the database's past, only the server can say.
 */

/** @returns {{ mark: string, seq: number } | null} null for anything that is not an offset */
export function parseOffset(offset) {
  const [, mark, digits] = typeof offset === 'string' ? (/^([\w-]*)\.(\d{1,16})$/.exec(offset) ?? []) : []
  return digits === undefined ? null : { mark, seq: Number(digits) }
}

const seqOf = (offset) => parseOffset(offset)?.seq ?? 0

/** The earliest of some offsets; undefined if there is none, or if two of them have one number and are of two pasts. */
export function earliest(offsets) {
  const known = offsets.filter(parseOffset)
  if (new Set(known.map(seqOf)).size !== new Set(known).size) return undefined
  return known.reduce((least, offset) => (least === undefined || seqOf(offset) < seqOf(least) ? offset : least), undefined)
}

/** Those of some offsets that are later than `since`, each once. */
export function laterThan(since, offsets) {
  return [...new Set(offsets.filter((offset) => seqOf(offset) > seqOf(since)))]
}
