/**
 * Mentions in the text of a comment: which parts of it name somebody, and what is being typed behind an `@`.
 *
 * Rules: they are the server's (README, "Comments"). The `@` begins a word, the name ends where a word ends, the longest name is
 * meant, and neither case nor the marks of Latin, Greek and Cyrillic letters count.
 */
const IN_WORD = /[\p{L}\p{N}\p{M}]/u
const MARKS = /(?<=[\p{sc=Latin}\p{sc=Greek}\p{sc=Cyrillic}]\p{M}*)\p{M}/gu
/** Characters behind an `@` that are looked at, as on the server. */
const MAX_LENGTH = 64

export const folded = (text) => text.normalize('NFKD').replace(MARKS, '').toLowerCase().normalize('NFC').split(/\s+/u).filter(Boolean).join(' ')

const inWord = (character) => character !== undefined && character !== '' && IN_WORD.test(character)

/** Where each `@` stands that may begin a mention. */
function* beginnings(text) {
  for (let at = text.indexOf('@'); at >= 0; at = text.indexOf('@', at + 1)) if (!inWord(text[at - 1])) yield at
}

/**
 * @param {string} text
 * @param {{ id: number, name: string }[]} people
 * @returns {(string | { id: number, text: string })[]} the text in parts, in order; a part with an `id` mentions somebody
 */
export function splitMentions(text, people) {
  const byName = new Map(people.map((person) => [folded(person.name), person.id]))
  const parts = []
  let end = 0
  for (const at of byName.size > 0 ? beginnings(text) : []) {
    if (at < end) continue
    const line = text.slice(at + 1, at + 1 + MAX_LENGTH).split('\n', 1)[0]
    for (let length = line.length; length > 0; length -= 1) {
      if (inWord(text[at + length]) && inWord(text[at + length + 1])) continue
      const id = /\s/u.test(line[length - 1]) ? undefined : byName.get(folded(line.slice(0, length)))
      if (id === undefined) continue
      if (at > end) parts.push(text.slice(end, at))
      end = at + 1 + length
      parts.push({ id, text: text.slice(at, end) })
      break
    }
  }
  if (end < text.length) parts.push(text.slice(end))
  return parts
}

/**
 * The name that is being typed at the caret.
 * @returns {{ at: number, query: string } | null} where its `@` stands, and what is behind it
 */
export function typedMention(text, caret) {
  const at = text.lastIndexOf('@', caret - 1)
  if (at < 0 || inWord(text[at - 1])) return null
  const query = text.slice(at + 1, caret)
  return query.length <= MAX_LENGTH && !/^\s|\n/u.test(query) ? { at, query } : null
}

/** Of people who were chosen, those whom the text still mentions. */
export const stillMentioned = (text, people) => {
  // Of several with one name any may be meant: those who were chosen.
  const names = new Set(splitMentions(text, people).filter((part) => part.id).map((part) => folded(part.text.slice(1))))
  return people.filter(({ name }) => names.has(folded(name)))
}
