/**
 * A small line chart of the last two minutes. The newest value stands beside it in words; the picture itself is an image to
 * screen readers, with that value in its name.
 */
const WIDTH = 320
const HEIGHT = 84
const SPAN = 120_000 // ms

/** The next round number at or above a value: 1, 2 or 5 times a power of ten. */
export function roundUp(value) {
  if (!(value > 0)) return 1
  const power = 10 ** Math.floor(Math.log10(value))
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value * (1 - 1e-9))
}

/** Lines of points that belong together: where a value is not known, there is a gap; one point alone is a dot. */
function lines(points, name, end, top) {
  const paths = []
  let open = false
  for (const each of points) {
    const value = each[name]
    if (value === null || value === undefined) {
      open = false
      continue
    }
    const x = WIDTH - ((end - each.at) / SPAN) * WIDTH
    const y = HEIGHT - 2 - (Math.min(value, top) / top) * (HEIGHT - 8)
    const at = `${x.toFixed(1)} ${y.toFixed(1)}`
    if (open) paths[paths.length - 1] += `L${at}`
    // Of no length, but with a round end: to be seen also where no line follows.
    else paths.push(`M${at}h0`)
    open = true
  }
  return paths
}

/**
 * @param {object} props
 * @param {{ name: string, label: string, color: string }[]} props.series `color` is a token's variable
 * @param {(value: number) => string} props.format
 * @param {number} [props.least] the top of an almost empty chart
 */
export function Chart({ title, points, series, format, least = 1, ...rest }) {
  const end = points.at(-1)?.at ?? 0
  const top = roundUp(Math.max(least, ...points.flatMap((each) => series.map(({ name }) => each[name] ?? 0))))
  // The last second may have had nothing to measure: the newest that is known.
  const newest = (name) => points.findLast((each) => each[name] !== null && each[name] !== undefined)?.[name] ?? null
  const words = series.map(({ name, label }) => `${label} ${newest(name) === null ? 'not known' : format(newest(name))}`).join(', ')
  return (
    <section className="min-w-0 rounded-2xl border border-line bg-surface p-5 shadow-card" {...rest}>
      <div className="flex flex-wrap items-baseline justify-between gap-x-4 gap-y-1">
        <h2 className="text-sm font-semibold">{title}</h2>
        <span className="text-xs text-ink-2">2 minutes</span>
      </div>
      <dl className="mt-2 flex flex-wrap gap-x-6 gap-y-1">
        {series.map(({ name, label, color }) => (
          <div key={name} className="flex items-baseline gap-2">
            <span aria-hidden="true" className="size-2 rounded-full" style={{ background: color }} />
            <dt className="text-xs text-ink-2">{label}</dt>
            <dd className="text-lg font-semibold tracking-tight tabular-nums">{newest(name) === null ? '–' : format(newest(name))}</dd>
          </div>
        ))}
      </dl>
      <div className="relative mt-3">
        <svg role="img" aria-label={`${title}: ${words}`} viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" className="block h-24 w-full overflow-visible">
          {[0, 0.5, 1].map((share) => (
            <line key={share} x1="0" x2={WIDTH} y1={HEIGHT - 2 - share * (HEIGHT - 8)} y2={HEIGHT - 2 - share * (HEIGHT - 8)}
              stroke="var(--dj-line)" vectorEffect="non-scaling-stroke" />
          ))}
          {series.map(({ name, color }) =>
            lines(points, name, end, top).map((path, place) => (
              <path key={`${name}${place}`} d={path} fill="none" stroke={color} strokeWidth={path.includes('L') ? 2 : 5} strokeLinejoin="round" strokeLinecap="round" vectorEffect="non-scaling-stroke" />
            )),
          )}
        </svg>
        <span aria-hidden="true" className="absolute -top-1.5 right-0 bg-surface pl-1 text-[11px] text-ink-2 tabular-nums">{format(top)}</span>
      </div>
    </section>
  )
}
