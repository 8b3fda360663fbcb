/**
 * A replica of a list that the server holds: keyed by id, kept right by events, each applied once.
 *
 * Rules:
 *  - An event at or below the last one applied is dropped: a replay may overlap with what was already heard.
 *  - An entry that a list answered carries that answer's offset; an event at or below it is already in the entry.
 *  - What is heard while an answer is under way is kept, and applied again on top of the answer where it is newer. An entry that
 *    an event changed after the answer was read stays as it is, whether the answer has it or not.
 *  - An event with the number of the last one applied and another mark is of another past: nothing of it is applied, the
 *    list has to be loaded anew.
 *  - At most `maxKept` entries are held, the newest; what is dropped can be paged in again.
 */
import { parseOffset } from '../services/offsets.js'

/** Events kept while an answer is under way; beyond it the answer is thrown away and asked for again. */
const MAX_HEARD = 1000

/**
 * @param {object} options
 * @param {(entries: Map<number, {value: object, seq: number}>, event: {name: string, data: object, seq: number},
 *   listSeq: number) => void} options.apply changes `entries` as the event says
 * @param {number} [options.maxKept]
 */
export function createReplica({ apply, maxKept = 500 }) {
  let entries = new Map()
  let appliedMark = null
  let appliedSeq = 0 // both of the last event applied
  let listed // the offset of the latest answer
  let listSeq = 0 // of the last answer that the whole list was started from
  let streamSeq = 0 // events come without a gap from here on
  let stale = false // the entries are only there to be seen until the next whole answer
  let generation = 0
  let loads = 0
  let heard = []

  const put = (item, seq) => {
    const existing = entries.get(item.id)
    if (existing === undefined || existing.seq <= seq) entries.set(item.id, { value: item, seq })
  }
  const applyHeard = (after) => {
    for (const event of heard) if (event.seq > after) apply(entries, event, listSeq)
  }
  const finish = (settled) => {
    loads -= 1
    if (loads === 0) heard = []
    return settled
  }

  return {
    /** The entries, in a Map that is never changed once it was handed out. */
    get entries() {
      return entries
    },

    /** The offset of the latest answer that is in the entries; undefined if there is none. */
    get listed() {
      return listed
    },

    /** Take an event in. @returns {'applied' | 'dropped' | 'foreign'} */
    take(name, data, offset) {
      const at = parseOffset(offset)
      if (at === null) return 'dropped'
      if (at.seq === appliedSeq && appliedMark !== null && at.mark !== appliedMark) return 'foreign'
      if (at.seq <= appliedSeq) return 'dropped'
      appliedMark = at.mark
      appliedSeq = at.seq
      const event = { name, data, seq: at.seq }
      if (loads > 0 && heard.length <= MAX_HEARD) heard.push(event)
      entries = new Map(entries)
      apply(entries, event, listSeq)
      return 'applied'
    },

    /** The connection was made anew: events come from this offset on. What came before it, only a list knows. */
    streamFrom(offset) {
      streamSeq = parseOffset(offset)?.seq ?? 0
    },

    /** An answer is under way. Give what this returns to `settle`, `settleOne` or `abandon`. */
    begin() {
      loads += 1
      return { generation, streamSeq, seq: appliedSeq }
    },

    /** There will be no answer. */
    abandon() {
      finish()
    },

    /**
     * A page came.
     *
     * @param {object} [options]
     * @param {boolean} [options.whole] it is the first page, from which the list starts over
     * @param {(value: object) => boolean} [options.covers] what a first page would hold if it were still there
     * @param {boolean} [options.baseline] every event at or below the page's offset is in it
     * @returns {boolean} false if it has to be asked for again: too much happened meanwhile, or there is a gap behind it
     */
    settle(load, { items, offset }, { whole = false, covers = () => true, baseline = false } = {}) {
      const at = parseOffset(offset)
      const gap = at !== null && streamSeq !== load.streamSeq && at.seq < streamSeq
      const foreign = at !== null && appliedMark !== null && at.seq === appliedSeq && at.mark !== appliedMark
      if (at === null || gap || foreign || load.generation !== generation || heard.length > MAX_HEARD) return finish(false)
      if (listed === undefined || at.seq >= parseOffset(listed).seq) listed = offset
      if (!whole) entries = new Map(entries)
      else if (stale) entries = new Map()
      else entries = new Map([...entries].filter(([, entry]) => entry.seq > at.seq || !covers(entry.value)))
      if (whole) stale = false
      for (const item of items) put(item, at.seq)
      if (baseline) listSeq = at.seq
      applyHeard(at.seq)
      return finish(true)
    },

    /** One item came, alone and without an offset: it is as new as what had been heard when it was asked for. */
    settleOne(load, item) {
      if (load.generation === generation) {
        entries = new Map(entries)
        put(item, load.seq)
        applyHeard(load.seq)
      }
      finish()
    },

    /** Change an entry by what a command was answered; null takes it away. */
    amend(id, change) {
      const entry = entries.get(id)
      if (entry === undefined) return
      const value = change(entry.value)
      entries = new Map(entries)
      if (value === null) entries.delete(id)
      else entries.set(id, { value, seq: entry.seq })
    },

    /** Add what a command was answered, unless an event has brought it already. */
    add(item) {
      if (entries.has(item.id)) return
      entries = new Map(entries)
      entries.set(item.id, { value: item, seq: appliedSeq })
    },

    /** Drop the oldest beyond the bound. @returns {number | null} the smallest id kept, if any was dropped */
    prune() {
      if (entries.size <= maxKept) return null
      const ids = [...entries.keys()].sort((a, b) => b - a)
      entries = new Map(entries)
      for (const id of ids.slice(maxKept)) entries.delete(id)
      return ids[maxKept - 1]
    },

    /** History is lost or another's. The entries stay to be seen until the next whole answer. */
    forget() {
      generation += 1
      appliedMark = null
      listed = undefined
      appliedSeq = listSeq = streamSeq = 0
      stale = true
      heard = []
      entries = new Map([...entries].map(([id, entry]) => [id, { value: entry.value, seq: 0 }]))
    },
  }
}
