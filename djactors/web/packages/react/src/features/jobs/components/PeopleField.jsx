/** Several people, chosen by name one after the other. `value` is `{ id, name }[]`. */
import { IconButton } from '../../../shared/components/Button.jsx'
import { Person } from '../../../shared/components/Person.jsx'
import { PersonField } from '../../../shared/components/PersonField.jsx'

/** Beyond these a backend is the better tool. */
const MAX_PEOPLE = 20

export function PeopleField({ label, value, onChange }) {
  const full = value.length >= MAX_PEOPLE
  return (
    <div>
      <PersonField label={label} optional many value={null} hint={full ? `No more than ${MAX_PEOPLE} can be named here.` : undefined}
        onChange={(id, person) => {
          if (id !== null && !full && !value.some((each) => each.id === id)) onChange([...value, { id, name: person.name }])
        }} />
      {value.length > 0 && (
        <ul aria-label={`${label}, chosen`} className="mt-2 flex flex-wrap gap-2 text-sm">
          {value.map(({ id, name }) => (
            <li key={id} className="flex max-w-full items-center gap-1 rounded-full border border-line bg-sunken py-0.5 pr-0.5 pl-1">
              <Person id={id} name={name} />
              <IconButton label={`Remove ${name}`} title="Remove" icon="close" iconClass="size-4" className="size-8! rounded-full!"
                onClick={() => onChange(value.filter((each) => each.id !== id))} />
            </li>
          ))}
        </ul>
      )}
    </div>
  )
}
