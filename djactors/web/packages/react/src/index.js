/**
 * What another React application takes over, as the package `@djactors/react`. All of it depends on React, Zustand,
 * socket.io-client, and on what its host gives to `DjactorsProvider`; on nothing of the page. Every name exported here is
 * declared in `types/index.d.ts`.
 */
export { TopBar } from './core/layout/TopBar.jsx'
export { MyQueue } from './features/assignee/pages/MyQueue.jsx'
export { JobNotifications } from './features/inbox/components/JobNotifications.jsx'
export { CreateJob } from './features/jobs/components/CreateJob.jsx'
export { JobDetail } from './features/jobs/pages/JobDetail.jsx'
export { Announcer, announce } from './shared/components/Announcer.jsx'
export { ConnectionState } from './shared/components/ConnectionState.jsx'
export { Notice } from './shared/components/Notice.jsx'
export { NotificationBadge } from './shared/components/NotificationBadge.jsx'
export { NotificationBell } from './shared/components/NotificationBell.jsx'
export { NotificationPanel } from './shared/components/NotificationPanel.jsx'
export { NotificationToast, NotificationToasts } from './shared/components/NotificationToast.jsx'
export { RefusedPage } from './shared/components/RefusedPage.jsx'
export { useDjactors } from './shared/DjactorsContext.js'
export { DjactorsProvider } from './shared/DjactorsProvider.jsx'
export { useJob, useJobs } from './shared/hooks/useJobs.js'
export { useArrivals, useMute, useNotifications, useReadJob, useUnreadCount, useUnseenCount } from './shared/hooks/useNotifications.js'
export { useSocket, useSocketEvent } from './shared/hooks/useSocket.js'
export { ApiError } from './shared/services/api.js'
export { readClaims } from './shared/services/claims.js'
export { createDjactors } from './shared/services/client.js'
