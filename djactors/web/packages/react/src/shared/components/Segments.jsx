/** A choice of a few, side by side: radio buttons to the keyboard and to screen readers. */
import { useId } from 'react'

export function Segments({ label, options, value, onChange, className = '' }) {
  const name = useId()
  return (
    <fieldset className={`flex rounded-[10px] bg-sunken p-1 ${className}`}>
      <legend className="sr-only">{label}</legend>
      {options.map(([key, text]) => (
        <label key={key}
          className="relative cursor-pointer rounded-[7px] px-3 py-1.5 text-center text-sm font-medium whitespace-nowrap text-ink-2 transition-colors hover:text-ink has-checked:bg-thumb has-checked:text-ink has-checked:shadow-card has-focus-visible:outline-2 has-focus-visible:outline-accent-text">
          <input type="radio" name={name} value={key} checked={value === key} onChange={() => onChange(key)}
            className="absolute inset-0 cursor-pointer opacity-0" />
          {text}
        </label>
      ))}
    </fieldset>
  )
}
