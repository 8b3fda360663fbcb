/** Which of the found people is the active one, and the keys that move and choose it. For `PeopleOptions`. */
import { useState } from 'react'

/**
 * @param {object} options
 * @param {string} options.id of the listbox
 * @param {{ people: object[] }} options.search what was found
 * @param {boolean} options.first whether the first one who can be chosen is active by itself
 * @param {boolean} [options.anybody] whether somebody who has been deactivated can be chosen
 * @param {(person: object) => void} options.choose
 */
export function useOptions({ id, search, first, anybody = false, choose }) {
  const isChoosable = ({ active }) => anybody || active !== false
  const { people } = search
  const [moved, setMoved] = useState({ people: null, active: -1 })
  // A move is one in the list that it was made in.
  const active = moved.people === people ? moved.active : first ? people.findIndex(isChoosable) : -1
  const setActive = (place) => {
    if (place !== active) setMoved({ people, active: place })
  }
  const chooseOne = (person) => {
    if (isChoosable(person)) choose(person)
  }
  return {
    active,
    activeId: active >= 0 ? `${id}-${active}` : undefined,
    setActive,
    choose: chooseOne,
    /** @returns {boolean} whether the key was one of the list's */
    onKeyDown(event) {
      const { key } = event
      if (key === 'ArrowDown' || key === 'ArrowUp') {
        event.preventDefault()
        const count = people.length
        if (count > 0) setActive(key === 'ArrowDown' ? (active + 1) % count : (active <= 0 ? count : active) - 1)
        return true
      }
      // What these do besides is the field's affair.
      if ((key === 'Enter' || (key === 'Tab' && !event.shiftKey)) && active >= 0 && isChoosable(people[active])) {
        chooseOne(people[active])
        return true
      }
      return false
    },
  }
}
