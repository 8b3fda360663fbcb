/**
 * The JSX runtime of the package: React's own, with class names that no host has.
 *
 * The sources are written with Tailwind's class names, which would get a host's own rules of the same names. Every element gets
 * the class `dj`, by which the package's style sheet resets what browsers and hosts say of elements, and each of its
 * class names gets the prefix `dj:`. Elements and components of the host are compiled by the host, and stay as they are.
 */
import { Fragment, jsx as reactJsx, jsxs as reactJsxs } from 'react/jsx-runtime'

export { Fragment }

/** By what the sources say. They say little: the texts are put together from a few constants. */
const prefixed = new Map([['', 'dj']])

function classes(text = '') {
  let known = prefixed.get(text)
  if (known === undefined) {
    known = ['dj', ...text.split(/\s+/).filter(Boolean).map((name) => `dj:${name}`)].join(' ')
    prefixed.set(text, known)
  }
  return known
}

const dress = (type, props) => (typeof type === 'string' ? { ...props, className: classes(props.className) } : props)

export const jsx = (type, props, key) => reactJsx(type, dress(type, props), key)
export const jsxs = (type, props, key) => reactJsxs(type, dress(type, props), key)
