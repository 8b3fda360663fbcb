import {
  Announcer,
  DjactorsProvider,
  JobDetail,
  MyQueue,
  Notice,
  NotificationBell,
  NotificationToasts,
  RefusedPage,
  useArrivals,
  useSocket,
  useUnreadCount,
} from '@djactors/react'
import { useEffect, useState } from 'react'

/** This application's own backend signs tokens for those whom it has signed in. */
async function fetchToken(): Promise<string> {
  const answer = await fetch('/acme/token', { method: 'POST' })
  if (!answer.ok) throw new Error('You are not signed in.')
  return await answer.text()
}

function Title() {
  const unread = useUnreadCount()
  useEffect(() => {
    document.title = unread > 0 ? `(${unread}) Acme Studio` : 'Acme Studio'
  }, [unread])
  return null
}

/** What the hooks say, without any component of the package. */
function Latest({ onSignOut }: { onSignOut: () => void }) {
  const { connected, status } = useSocket()
  const [latest, setLatest] = useState<string | null>(null)
  useArrivals((notification) => setLatest(notification.title))
  useEffect(() => {
    if (status === 'unauthorized') onSignOut()
  }, [status, onSignOut])
  return <p data-testid="acme-latest">{connected ? (latest ?? 'Nothing new') : 'Offline'}</p>
}

export function App() {
  const [token, setToken] = useState<string | null>(null)
  const [job, setJob] = useState<number | null>(null)

  if (token === null) {
    return (
      <main>
        <h1 className="flex">Acme Studio</h1>
        <button onClick={() => void fetchToken().then(setToken)}>Sign in</button>
      </main>
    )
  }
  return (
    <DjactorsProvider
      url={import.meta.env.VITE_DJACTORS_URL}
      token={token}
      refreshToken={fetchToken}
      onToken={setToken}
      onOpenJob={setJob}
    >
      <Title />
      <Announcer />
      <header className="acme-bar">
        <strong>Acme Studio</strong>
        <button onClick={() => setToken(null)}>Sign out</button>
        <Latest onSignOut={() => setToken(null)} />
        <NotificationBell />
      </header>
      <RefusedPage />
      {job === null ? <MyQueue /> : <JobDetail jobId={job} onBack={() => setJob(null)} />}
      <NotificationToasts />
      <Notice />
    </DjactorsProvider>
  )
}
