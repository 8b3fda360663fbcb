/** How the page makes itself heard when nobody looks at it: title, favicon, sound, the browser's notifications. */

const BELL =
  '<rect width="32" height="32" rx="9" fill="#4f46e5"/><path d="M16 7a6 6 0 0 0-6 6v4.2l-1.6 2.6a1 1 0 0 0 .9 1.5h13.4a1 1 0 0 0 .9-1.5L22 17.2V13a6 6 0 0 0-6-6Zm-2.6 16a2.7 2.7 0 0 0 5.2 0Z" fill="#fff"/>'

/** The icon with a count in it, as a data: address. */
export function iconWith(count) {
  const text = count > 99 ? '99+' : String(count)
  const width = 11 + 6 * text.length
  const badge =
    count === 0
      ? ''
      : `<rect x="${32 - width}" y="14" width="${width}" height="18" rx="9" fill="#d02c3a"/><text x="${32 - width / 2}" y="27.500" font-family="system-ui,sans-serif" font-size="13" font-weight="700" text-anchor="middle" fill="#fff">${text}</text>`
  const picture = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">${BELL}${badge}</svg>`
  return `data:image/svg+xml,${encodeURIComponent(picture)}`
}

/** Show the count in the tab. */
export function showInTab(name, count) {
  document.title = `${count > 0 ? `(${count}) ` : ''}${name ? `${name} · ` : ''}djactors`
  const link = document.querySelector('link[rel="icon"]')
  const href = count > 0 ? iconWith(count) : '/favicon.svg'
  if (link && link.getAttribute('href') !== href) link.setAttribute('href', href)
}

let audio = null

/** Two soft notes, made on the spot. Browsers allow it once the person has clicked something. */
export function chime(urgent = false) {
  const Context = globalThis.AudioContext
  if (Context === undefined) return
  audio ??= new Context()
  void audio.resume()
  const start = audio.currentTime + 0.02
  for (const [place, frequency] of (urgent ? [660, 880, 660] : [660, 880]).entries()) {
    const at = start + place * 0.13
    const tone = audio.createOscillator()
    const volume = audio.createGain()
    tone.frequency.value = frequency
    volume.gain.setValueAtTime(0.0001, at)
    volume.gain.exponentialRampToValueAtTime(0.12, at + 0.02)
    volume.gain.exponentialRampToValueAtTime(0.0001, at + 0.35)
    tone.connect(volume).connect(audio.destination)
    tone.start(at)
    tone.stop(at + 0.4)
  }
}

/** ms that one tab keeps the right to sound for a notification: longer than tabs are apart. */
const HOLD = 3000

/** Do something in one tab only, however many hear of the same notification. */
export function inOneTab(name, act) {
  if (!navigator.locks) return act()
  return navigator.locks.request(`djactors:${name}`, { ifAvailable: true }, async (lock) => {
    if (lock === null) return
    act()
    await new Promise((resolve) => setTimeout(resolve, HOLD))
  })
}

export const browserPermission = () => globalThis.Notification?.permission ?? 'unsupported'

/** Show one outside the page; `tag` keeps tabs from showing it twice. */
export function showOutside({ id, title, message }, onClick) {
  if (browserPermission() !== 'granted') return
  let shown
  try {
    shown = new Notification(title, { body: message ?? '', tag: `djactors-${id}`, icon: '/favicon.svg' })
  } catch {
    // Some phones only allow them to service workers.
    return
  }
  shown.onclick = () => {
    globalThis.focus()
    shown.close()
    onClick()
  }
}
