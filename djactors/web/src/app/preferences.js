/**
 * What a person has chosen in this browser: theme, what the bell counts, sound, the browser's notifications. All tabs follow.
 */
import { useStore } from 'zustand'
import { createStore } from 'zustand/vanilla'

const KEY = 'djactors.preferences'
const DEFAULTS = { theme: 'system', badge: 'unread', sound: false, browser: false }
const THEMES = ['system', 'light', 'dark']
const BADGES = ['unread', 'unseen']

function clean(text) {
  let value
  try {
    value = JSON.parse(text) ?? {}
  } catch {
    value = {}
  }
  return {
    theme: THEMES.includes(value.theme) ? value.theme : DEFAULTS.theme,
    badge: BADGES.includes(value.badge) ? value.badge : DEFAULTS.badge,
    sound: value.sound === true,
    browser: value.browser === true,
  }
}

const read = () => {
  try {
    return localStorage.getItem(KEY)
  } catch {
    return null
  }
}

export const preferences = createStore(() => clean(read()))

export function prefer(change) {
  preferences.setState(change)
  try {
    localStorage.setItem(KEY, JSON.stringify(preferences.getState()))
  } catch {
    // They last until the reload then.
  }
}

export const usePreferences = () => useStore(preferences)

function dress({ theme }) {
  if (theme === 'system') delete document.documentElement.dataset.theme
  else document.documentElement.dataset.theme = theme
}

/** Follow the choice, in this tab and in others. */
export function begin() {
  dress(preferences.getState())
  preferences.subscribe(dress)
  addEventListener('storage', ({ key, newValue }) => {
    if (key === KEY) preferences.setState(clean(newValue))
  })
}
