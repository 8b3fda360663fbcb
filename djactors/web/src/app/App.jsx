/** The page: the host of the modules. It signs in, says where to go, and makes itself heard. */
import { useEffect, useState } from 'react'
import { useStore } from 'zustand'

import { Announcer, DjactorsProvider, MyQueue, Notice, NotificationToasts, RefusedPage, TopBar, useArrivals, useDjactors, useJob, useSocket, useUnreadCount, useUnseenCount } from '#modules/index.js'
import { labelOf } from '#modules/features/jobs/moves.js'
import { readClaims } from '#modules/shared/services/claims.js'
import { jobOf } from '#modules/shared/components/kinds.js'
import { Empty } from '#modules/shared/components/States.jsx'
import { AccountMenu } from './AccountMenu.jsx'
import { usePreferences } from './preferences.js'
import { LinkNotice } from './LinkNotice.jsx'
import { partOf } from './parts.jsx'
import { navigate, useRoute } from './route.js'
import { keepToken, session, signOut } from './session.js'
import { SignIn } from './SignIn.jsx'
import { chime, inOneTab, showInTab, showOutside } from './signals.js'
import { TokenNotice } from './TokenNotice.jsx'

const [Observer] = partOf(() => import('#modules/features/observer/pages/Observer.jsx').then((part) => part.default), 'the observer')
const [JobDetail, fetchJobDetail] = partOf(() => import('#modules/features/jobs/pages/JobDetail.jsx').then((part) => part.JobDetail), 'the job')

const jobHref = (id) => `/#/jobs/${id}`
const openJob = (id) => navigate(jobHref(id))

/** Title, favicon, sound and the browser's notifications. */
function Signals({ name }) {
  const { badge, sound, browser } = usePreferences()
  const unread = useUnreadCount()
  const unseen = useUnseenCount()
  const count = badge === 'unseen' ? unseen : unread
  useEffect(() => showInTab(name, count), [name, count])
  useEffect(() => () => showInTab('', 0), [])
  useArrivals((notification) => {
    if (sound) inOneTab(`sound:${notification.id}`, () => chime(notification.priority === 'CRITICAL'))
    if (browser && document.hidden) {
      showOutside(notification, () => {
        const job = jobOf(notification)
        if (job !== null) openJob(job)
      })
    }
  })
  return null
}

function JobView({ id }) {
  const { job } = useJob(id)
  return (
    <>
      <Signals name={job ? labelOf(job) : 'Job'} />
      <JobDetail jobId={id} onBack={() => navigate('/')} />
    </>
  )
}

function View({ route, admin }) {
  switch (route.view) {
    case 'job':
      return <JobView id={route.id} />
    case 'observer':
      return (
        <>
          <Signals name="Observer" />
          {admin ? (
            <Observer />
          ) : (
            <main className="mx-auto max-w-6xl p-6">
              <h1 className="sr-only">Observer</h1>
              <Empty icon="eye" title="For admins only">Sign in with a token of the role admin to see how the installation is.</Empty>
            </main>
          )}
        </>
      )
    default:
      return (
        <>
          <Signals name="My queue" />
          <MyQueue />
        </>
      )
  }
}

function Shell() {
  const { client } = useDjactors()
  const route = useRoute()
  const { status, refusal } = useSocket()
  const { badge } = usePreferences()
  const [inboxOpen, setInboxOpen] = useState(false)
  const admin = client.me.role === 'admin'
  // Jobs are what people go to next, and perhaps when there is no connection any more.
  useEffect(() => {
    if (status === 'connected') fetchJobDetail().catch(() => {})
  }, [status])
  useEffect(() => {
    if (status === 'unauthorized') signOut(refusal ?? 'token_invalid')
  }, [status, refusal])
  const nav = [{ label: 'Queue', icon: 'list', href: '/', current: route.view !== 'observer', onClick: () => navigate('/') }]
  if (admin) {
    nav.push({ label: 'Observer', icon: 'activity', href: '/observer', current: route.view === 'observer', onClick: () => navigate('/observer') })
  }
  return (
    <>
      <TopBar nav={nav} inboxOpen={inboxOpen} onInbox={setInboxOpen} badge={badge}><AccountMenu /></TopBar>
      <RefusedPage />
      <LinkNotice />
      <TokenNotice />
      <View route={route} admin={admin} />
      <Notice />
      <NotificationToasts onOpenInbox={() => setInboxOpen(true)} />
    </>
  )
}

export function App() {
  const { token, reason, asking } = useStore(session)
  const claims = readClaims(token)
  return (
    <>
      <Announcer />
      {claims === null ? (
        <SignIn reason={reason} asking={asking} />
      ) : (
        <DjactorsProvider key={`${claims.tenantId}:${claims.userId}`} token={token} onToken={keepToken} onOpenJob={openJob} jobHref={jobHref}>
          <Shell />
        </DjactorsProvider>
      )}
    </>
  )
}
