/**
 * How the installation is, for admins: one line that says whether it is well, what is wrong and where, then the numbers and
 * the actor tree, and below them the people and who was not notified. Loaded on demand.
 */
import { useEffect, useRef } from 'react'

import { announce } from '../../../shared/components/Announcer.jsx'
import { Icon } from '../../../shared/components/Icon.jsx'
import { Failed, Skeleton } from '../../../shared/components/States.jsx'
import { ActorTree } from '../components/ActorTree.jsx'
import { Chart } from '../components/Chart.jsx'
import { Nodes } from '../components/Nodes.jsx'
import { People } from '../components/People.jsx'
import { Suppressions } from '../components/Suppressions.jsx'
import { findings } from '../model.js'
import { useActors } from '../useActors.js'

/** Findings that are spelt out, the worst as the headline; the rest is a number. */
const MAX_FINDINGS = 6

const rate = (value) => (value >= 100 ? Math.round(value).toLocaleString() : value.toFixed(value >= 10 || value === 0 ? 0 : 1))
const latency = (seconds) => {
  const milliseconds = seconds * 1000
  return milliseconds >= 1000 ? `${seconds.toFixed(1)} s` : `${milliseconds >= 10 ? Math.round(milliseconds) : milliseconds.toFixed(1)} ms`
}
const since = (seconds) => {
  if (seconds < 60) return `${Math.round(seconds)} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`
  return `${Math.floor(seconds / 86_400)} days`
}

function headline(found, lost) {
  if (lost) return ['unknown', 'No answer from the server', 'warn']
  if (found.length === 0) return ['well', 'All well', 'ok']
  const bad = found.filter(({ severity }) => severity === 'bad').length
  const [{ where, what }] = found
  return ['troubled', `${where}: ${what}`, bad > 0 ? 'danger' : 'warn']
}

const TONES = {
  ok: ['bg-ok-soft text-ok', 'done'],
  warn: ['bg-warn-soft text-warn', 'alert'],
  danger: ['bg-danger-soft text-danger', 'cross'],
}

function StateLine({ answer, found, lost }) {
  const [state, words, tone] = headline(found, lost)
  const [colors, icon] = TONES[tone]
  const was = useRef(null)
  useEffect(() => {
    if (was.current !== null && was.current !== state) announce(words, state === 'well' ? 'polite' : 'assertive')
    was.current = state
  }, [state, words])
  return (
    <section data-testid="observer-state" data-state={state} className={`rounded-2xl p-5 transition-colors duration-500 sm:p-7 ${colors}`}>
      <div className="flex items-center gap-4">
        <Icon name={icon} className="size-10 sm:size-12" />
        <div className="min-w-0">
          <h1 className="text-2xl leading-tight font-semibold tracking-tight [overflow-wrap:anywhere] sm:text-[32px]">{words}</h1>
          <p className="mt-1 text-sm">
            {[
              answer.version && `djactors ${answer.version}`,
              answer.uptime !== undefined && `up for ${since(answer.uptime)}`,
              'looked at once a second',
            ].filter(Boolean).join(' · ')}
          </p>
        </div>
      </div>
      {found.length > 1 && (
        <ul className="mt-4 space-y-1.5 pl-14 text-sm sm:pl-16">
          {found.slice(1, MAX_FINDINGS).map(({ where, what }) => (
            <li key={`${where} ${what}`}><strong className="font-semibold">{where}:</strong> {what}</li>
          ))}
          {found.length > MAX_FINDINGS && <li>and {found.length - MAX_FINDINGS} more</li>}
        </ul>
      )}
    </section>
  )
}

function Figure({ label, value, warn = false }) {
  return (
    <div className="min-w-0 rounded-2xl border border-line bg-surface px-4 py-3.5 shadow-card">
      <dt className="text-xs text-ink-2">{label}</dt>
      <dd className={`mt-0.5 truncate text-xl font-semibold tracking-tight tabular-nums ${warn ? 'text-warn' : ''}`}>{value ?? '–'}</dd>
    </div>
  )
}

function restartsIn(node) {
  return (node.restarts ?? 0) + (node.children ?? []).reduce((sum, child) => sum + restartsIn(child), 0)
}

export default function Observer() {
  const { answer, points, recent, error, lost } = useActors()
  if (answer === null) {
    return (
      <main className="mx-auto max-w-6xl px-4 py-6 sm:px-6 sm:py-10" data-testid="observer">
        <h1 className="sr-only">Observer</h1>
        {error === null ? (
          <div className="overflow-hidden rounded-2xl border border-line bg-surface shadow-card"><Skeleton rows={5} label="Loading the actor tree" /></div>
        ) : (
          <Failed onRetry={() => location.reload()}>The actor tree could not be loaded. {error.message}</Failed>
        )}
      </main>
    )
  }
  const found = findings(answer, { recent, points })
  const { users = {}, sessions = {}, nodes = [], store, loop, tree } = answer
  const restarts = restartsIn(tree)
  return (
    <main className="mx-auto max-w-6xl space-y-5 px-4 py-6 sm:px-6 sm:py-8" data-testid="observer">
      <StateLine answer={answer} found={found} lost={lost} />
      <dl className="grid grid-cols-2 gap-3 sm:grid-cols-3 lg:grid-cols-6">
        <Figure label="Users" value={users.total?.toLocaleString()} />
        <Figure label="WebSocket" value={sessions.websocket?.toLocaleString()} />
        <Figure label="Polling" value={sessions.polling?.toLocaleString()} />
        <Figure label="Restarts" value={restarts.toLocaleString()} warn={recent.length > 0} />
        <Figure label="Quarantined" value={users.quarantined?.toLocaleString()} warn={users.quarantined > 0} />
        <Figure label="Loop lag, worst" value={loop?.worst === undefined ? undefined : latency(loop.worst)} />
      </dl>
      <div className="grid gap-5 md:grid-cols-2">
        <Chart title="Throughput a second" data-testid="chart-throughput" points={points} format={rate} least={5}
          series={[
            { name: 'events', label: 'Events', color: 'var(--dj-accent)' },
            { name: 'deliveries', label: 'Deliveries', color: 'var(--dj-ok)' },
          ]} />
        <Chart title="Delivery latency" data-testid="chart-latency" points={points} format={latency} least={0.005}
          series={[
            { name: 'p50', label: 'Median', color: 'var(--dj-accent)' },
            { name: 'p99', label: '99 %', color: 'var(--dj-warn)' },
          ]} />
      </div>
      {nodes.length > 0 && <Nodes nodes={nodes} />}
      <section aria-labelledby="tree-heading">
        <h2 id="tree-heading" className="mb-3 px-1 text-sm font-semibold">Actors</h2>
        <ActorTree tree={tree} users={users} store={store} recent={recent} />
      </section>
      <div className="grid grid-cols-[minmax(0,1fr)] items-start gap-5 lg:grid-cols-2">
        <People />
        <Suppressions />
      </div>
    </main>
  )
}
