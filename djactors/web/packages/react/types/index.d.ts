/**
 * The types of `@djactors/react`. `check.ts` holds them against the code; what the events and routes mean is written in the
 * README of djactors. Times are texts in RFC 3339, ids are integers.
 */
import type { ReactNode } from 'react'
import type { StoreApi } from 'zustand/vanilla'

export type Priority = 'CRITICAL' | 'HIGH' | 'MEDIUM' | 'LOW'

/** A notification. `type` may be one of the backend's own. */
export interface Notification {
  id: number
  type: string
  priority: Priority
  title: string
  message: string | null
  data: { jobId?: number; djId?: string | null; [key: string]: unknown } | null
  createdAt: string
  /** The notification that this one takes the place of. */
  replaces?: number | null
}

/** Where a notification is: in the inbox itself, in the archive, or snoozed. */
export type Place = 'inbox' | 'archived' | 'snoozed'

/** A notification in a list of the inbox. */
export interface InboxItem extends Notification {
  isRead: boolean
  readAt: string | null
  place: Place
  /** When it comes back, if it is snoozed. */
  snoozedUntil?: string
}

export interface Job {
  id: number
  djId: string | null
  title: string
  projectId: number | null
  jobTypeId: number | null
  status: 'open' | 'assigned' | 'pending_approval' | 'approved' | 'rejected' | 'completed' | 'cancelled' | (string & {})
  requesterId: number
  requesterName: string | null
  assigneeId: number | null
  assigneeName: string | null
  approverId: number | null
  approverName: string | null
  managerId: number | null
  managerName: string | null
  watcherIds: number[]
  /** The first 100 of them. */
  watchers: NamedPerson[]
  deadline: string | null
  createdAt: string
  updatedAt: string
  /** A newer server may say more. */
  [key: string]: unknown
}

export interface NewJob {
  title: string
  projectId?: number
  jobTypeId?: number
  assigneeId?: number
  approverId?: number
  managerId?: number
  watcherIds?: number[]
  deadline?: string
}

/** What a token says of its holder. `expiresAt` in ms since 1970. */
export interface Claims {
  userId: number
  tenantId: number
  role: string
  name: string | null
  expiresAt: number
}

export interface NamedPerson {
  id: number
  name: string
}

/** Somebody of the tenant. `connected` is left out where the server tells no presence. */
export interface Person extends NamedPerson {
  role: string
  /** False for who has been deactivated. */
  active: boolean
  connected?: boolean
}

/** A comment on a job. The text is plain: show it as text. */
export interface Comment {
  id: number
  jobId: number
  authorId: number
  authorName: string | null
  text: string
  mentions: NamedPerson[]
  createdAt: string
}

/** A refusal. `code` is the server's word (`not_found`, `forbidden` …), or `offline` where no answer came; then `status` is 0. */
export class ApiError extends Error {
  constructor(code: string, message: string, status?: number)
  code: string
  status: number
}

/** Null where the text is no token of a person. Nothing is verified. */
export function readClaims(token: string | null | undefined): Claims | null

// The connection

export type ConnectionStatus = 'idle' | 'connecting' | 'connected' | 'reconnecting' | 'unauthorized'

export interface ConnectionInfo {
  status: ConnectionStatus
  /** Why the token was refused, such as `token_expired`. */
  refusal: string | null
  /** The server refuses this page for its Origin. */
  originRefused: boolean
  /** Set while the token is about to end. */
  expiresAt: string | null
}

export interface EventMeta {
  /** Where this change stands, as the server names it. */
  offset: string | undefined
  /** False for what is replayed after a connect. */
  live: boolean
}

export interface ServerEvents {
  'notification:new': Notification
  'notification:unread-count': { count: number; unseen: number }
  'notification:read': { notificationIds?: number[]; all?: true; readAt: string }
  'notification:unread': { notificationIds: number[] }
  'notification:seen': { upTo: number; at: string }
  'notification:archived': { notificationIds: number[] }
  'notification:unarchived': { notificationIds: number[] }
  'notification:snoozed': { notificationIds: number[]; until: string }
  'notification:unsnoozed': { notificationIds: number[] }
  'notification:deleted': { notificationIds: number[] }
  'job:muted': { jobId: number }
  'job:unmuted': { jobId: number }
  'job:assigned': { jobId: number; djId: string | null; assigneeId: number; assigneeName: string }
  'job:updated': { job: Job }
  'comment:added': { comment: Comment }
  'people:presence': { userId: number; connected: boolean }
  'approval:status-changed': { jobId: number; djId: string | null; status: 'pending' | 'approved' | 'rejected'; approvedBy: string | null }
  'auth:expiring': { expiresAt: string }
  'changes:reset': { offset: string }
}

/** The server's ack: `{ ok: true, … }`. */
export interface Ack {
  ok: true
  [key: string]: unknown
}

export interface Socket {
  state: StoreApi<ConnectionInfo>
  /** Rejects with an `ApiError`. It does not queue: without a connection the code is `offline`. */
  emit(name: string, payload?: object): Promise<Ack>
  on<Name extends keyof ServerEvents>(name: Name, handler: (data: ServerEvents[Name], meta: EventMeta) => void): () => void
  on(name: string, handler: (data: any, meta: EventMeta) => void): () => void
  /** Try again now instead of after the backoff. */
  retry(): void
}

// The client

export interface DjactorsOptions {
  /** The server's origin; by default the page's own. */
  url?: string
  token: string
  /** Fetches a fresh token of the same person before the old one ends. */
  refreshToken?: () => Promise<string>
  /** Told of each fresh token, to keep it. */
  onToken?: (token: string) => void
  /** Names for ids. */
  people?: NamedPerson[]
}

export type ListStatus = 'idle' | 'loading' | 'ready' | 'error'
/** Which notifications a list shows. */
export interface InboxFilter {
  view: Place
  unread: boolean
  type: string | null
  priority: Priority | null
  /** The id of a job. */
  job: number | null
  /** Words of the title, the message, or the job's title or number; empty for no search. */
  query: string
}

export interface InboxState {
  items: InboxItem[]
  unreadCount: number
  /** How many of the unread ones came since the person last looked into the inbox. */
  unseenCount: number
  filter: InboxFilter
  /** What has just arrived. */
  toasts: Notification[]
  /** The last thing that can be undone, or was rolled back; then `undo` is null. */
  notice: { id: number; text: string; undo: (() => void) | null } | null
}

export interface InboxActions {
  /** Load a list from its beginning; by default the one that is shown. Rejects with an `ApiError`. */
  load(filter?: InboxFilter): Promise<void>
  loadMore(): Promise<void>
  /** Show another list: only what changes of the filter. */
  setFilter(filter: Partial<InboxFilter>): void
  /** The following show at once, and resolve to whether the change stands. */
  markRead(id: number): Promise<boolean>
  markUnread(id: number): Promise<boolean>
  markAllRead(): Promise<boolean>
  archive(id: number): Promise<boolean>
  unarchive(id: number): Promise<boolean>
  /** Until a moment in RFC 3339, before the notification expires; `said` is what the notice says. */
  snooze(id: number, until: string, said?: string): Promise<boolean>
  unsnooze(id: number): Promise<boolean>
  remove(id: number): Promise<boolean>
  /** Read what is in the inbox of a job; `silent` has no notice where that fails. */
  readJob(jobId: number, options?: { silent?: boolean }): Promise<boolean>
  dismissToast(id: number): void
  dismissNotice(): void
  /** Undo what the notice speaks of. Returns whether there was something to undo. */
  undo(): boolean
  /** A list is on the screen: what it shows is seen. Returns a function to call once it no longer is. */
  watchList(): () => void
  /** Somebody looks at the page again, and so at an open list. */
  look(): void
  /** Open or close the inbox of `NotificationBell`. */
  setInboxOpen(open: boolean): void
}

export interface PeopleState {
  /** Names by id, as far as they are known. */
  names: Map<number, string>
  /** By id whether somebody is connected; nothing of whom it is not known. */
  connected: Map<number, boolean>
}

export interface PeopleActions {
  /** By the beginning of a name or of a word of it. Rejects with an `ApiError`. */
  search(query: string, page?: { limit?: number; before?: string }): Promise<{ items: Person[]; nextBefore: string | null }>
  /** Follow who is connected, until the function that it returns is called. */
  look(): () => void
}

/** One signed-in person's djactors, without React. */
export interface Djactors {
  /** Null where the token is none of a person. */
  me: Claims | null
  socket: Socket
  notifications: StoreApi<InboxState> & { actions: InboxActions & { onArrival(hear: (notification: Notification) => void): () => void } }
  people: StoreApi<PeopleState> & { actions: PeopleActions }
  /** Load the inbox and connect. */
  start(): void
  /** Disconnect. It can be started again. */
  stop(): void
  /** Go on with another token of the same person. Rejects with an `ApiError`. */
  setToken(token: string): Promise<void>
  personName(id: number | null | undefined): string | null
}

export function createDjactors(options: DjactorsOptions): Djactors

// React

export interface DjactorsProviderProps extends DjactorsOptions {
  /** Show a job: a notification or a row of the queue was chosen. */
  onOpenJob?: (jobId: number) => void
  /** A job's address: with it, what leads to a job is a link. */
  jobHref?: (jobId: number) => string
  /** For tests: makes the client. */
  create?: (options: DjactorsOptions) => Djactors
  children?: ReactNode
}
export function DjactorsProvider(props: DjactorsProviderProps): ReactNode
export function useDjactors(): { client: Djactors; openJob: (id: number) => void; jobHref?: (id: number) => string }

export function useSocket(): ConnectionInfo & {
  connected: boolean
  emit: Socket['emit']
  retry: Socket['retry']
  setToken: (token: string) => Promise<void>
}
export function useSocketEvent<Name extends keyof ServerEvents>(name: Name, handler: (data: ServerEvents[Name], meta: EventMeta) => void): void
export function useSocketEvent(name: string, handler: (data: any, meta: EventMeta) => void): void

export function useNotifications(): InboxActions & {
  /** What the list shows, newest first. */
  notifications: InboxItem[]
  unreadCount: number
  unseenCount: number
  filter: InboxFilter
  status: ListStatus
  hasMore: boolean
  /** Of the next page. */
  more: 'idle' | 'loading' | 'error'
  notice: InboxState['notice']
}
export function useUnreadCount(): number
/** How many of the unread ones came since the person last looked into the inbox. */
export function useUnseenCount(): number
/** Whether a job is muted, null until it is known; `mute` resolves to whether the change stands. */
export function useMute(jobId: number | null): { muted: boolean | null; mute(muted: boolean): Promise<boolean> }
/** Read what is in the inbox of a job, once it is opened. */
export function useReadJob(jobId: number | null): void
/** Hear of each notification that arrives live: the place for sounds and the browser's notifications. */
export function useArrivals(handler: (notification: Notification) => void): void

export interface JobFilter {
  assignee?: 'me' | number | null
  status?: string | null
}
export function useJobs(filter: JobFilter): {
  jobs: Job[]
  status: ListStatus
  hasMore: boolean
  more: 'idle' | 'loading' | 'error'
  /** The job that an event changed last; `at` in ms since 1970. */
  touched: { id: number; at: number } | null
  load(): Promise<void>
  loadMore(): Promise<void>
  /** Rejects with an `ApiError`. */
  create(job: NewJob): Promise<Job>
}
export function useJob(id: number): {
  job: Job | null
  status: 'loading' | 'ready' | 'missing' | 'error'
  load(): Promise<void>
  /** `assign`, `submit`, `approve`, `cancel`, `title` … as the HTTP routes. Rejects with an `ApiError`. */
  move(name: string, body?: object): Promise<Job>
}
/** The comments on a job, kept right while a component looks at them. */
export function useThread(jobId: number): {
  /** Newest first. */
  comments: Comment[]
  status: 'loading' | 'ready' | 'error'
  error: ApiError | null
  hasMore: boolean
  /** Of the older ones. */
  more: 'idle' | 'loading' | 'error'
  load(): Promise<void>
  loadMore(): Promise<void>
  /** Write one; `mentions` are ids of people. Rejects with an `ApiError`. */
  add(text: string, mentions?: number[]): Promise<void>
}

/** People whose name, or a word of it, begins with the query. Null asks for nothing. */
export function usePeopleSearch(query: string | null): {
  /** The answer to this query; none while there is no answer yet. */
  people: Person[]
  /** What was found last, to be seen meanwhile. */
  last: Person[]
  status: 'idle' | 'loading' | 'ready' | 'error'
  hasMore: boolean
  error: ApiError | null
  retry(): void
}
/** Whether somebody is connected now; undefined where it is not known. With a name the server is asked. */
export function usePresence(id: number | null, name?: string | null): boolean | undefined

/** What the bell counts: the unread ones, or those that came since the inbox was last open. */
export type BadgeCount = 'unread' | 'unseen'

/** The bell and the inbox that it opens. It keeps by itself whether the inbox is open, unless both props are given. */
export function NotificationBell(props: { open?: boolean; onOpenChange?: (open: boolean) => void; badge?: BadgeCount }): ReactNode
/** The bell alone. */
export function NotificationBadge(props: { onClick: () => void; expanded?: boolean; badge?: BadgeCount }): ReactNode
/** The open inbox. */
export function NotificationPanel(props: { onClose: () => void }): ReactNode
/** What has just arrived, in a corner; once in a page. By default it opens the inbox of `NotificationBell`. */
export function NotificationToasts(props: { onOpenInbox?: () => void }): ReactNode
export function NotificationToast(props: {
  notification: Notification
  paused?: boolean
  onDismiss: () => void
  onOpen: () => void
}): ReactNode
/** What was done and can be undone, or was rolled back, said for a few seconds; once in a page. */
export function Notice(props: Record<never, never>): ReactNode
/** Says to screen readers what `announce` is given; once in a page, there from the start. */
export function Announcer(props: Record<never, never>): ReactNode
export function announce(text: string, urgency?: 'polite' | 'assertive'): void
export function ConnectionState(props: Record<never, never>): ReactNode
/** Shown while the server refuses the page for its Origin. */
export function RefusedPage(props: Record<never, never>): ReactNode

export interface Way {
  label: string
  /** A name of one of the package's icons, such as `list` or `activity`. */
  icon: string
  href: string
  current?: boolean
  onClick?: () => void
}
export function TopBar(props: {
  brand?: ReactNode
  nav?: Way[]
  inboxOpen?: boolean
  onInbox?: (open: boolean) => void
  badge?: BadgeCount
  children?: ReactNode
}): ReactNode
/** The queue of jobs; a page's `<main>`. */
export function MyQueue(props: Record<never, never>): ReactNode
/** One job; a page's `<main>`. */
export function JobDetail(props: { jobId: number; onBack: () => void }): ReactNode
/** For a page of a job: reads what the inbox has of it, and mutes it. `JobDetail` has it already. */
export function JobNotifications(props: { jobId: number }): ReactNode
/** The comments on a job, and a field to write one. */
export function JobThread(props: { jobId: number }): ReactNode
/** Somebody's initials and name, and whether they are connected. */
export function Person(props: { id: number | null; name?: string | null; nobody?: string; className?: string }): ReactNode
/** A field that searches people by name. */
export function PersonField(props: {
  label: string
  hint?: string
  /** The chosen one's id. */
  value: number | null
  /** What the chosen one is called at first. */
  name?: string | null
  onChange: (id: number | null, person: Person | null) => void
  optional?: boolean
  /** It has the focus when the dialog around it opens. */
  takesFocus?: boolean
  /** It is empty again after each choice. */
  many?: boolean
  /** Those who have been deactivated can be chosen, too. */
  anybody?: boolean
}): ReactNode
/** The dialog that makes a job. */
export function CreateJob(props: { onClose: () => void; onCreated: (job: Job) => void }): ReactNode
