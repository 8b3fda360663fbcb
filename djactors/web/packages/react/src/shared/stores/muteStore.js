/**
 * Which jobs the person has muted, as far as they are looked at.
 *
 * Rules: muting shows at once and rolls back, with a notice of the inbox, where the server refuses; it can be undone. What another
 * device does shows by its event. A job that is looked at (`watch`) is asked for, and asked for again after a reset.
 */
import { createStore } from 'zustand/vanilla'

import { createReplica } from './replica.js'

export const MUTE_EVENTS = ['job:muted', 'job:unmuted']

function applyEvent(entries, { name, data, seq }) {
  const entry = entries.get(data.jobId)
  if (entry === undefined || entry.seq < seq) entries.set(data.jobId, { value: { id: data.jobId, muted: name === 'job:muted' }, seq })
}

/**
 * @param {object} options
 * @param {ReturnType<import('../services/api.js').createApi>} options.api
 * @param {{ emit: Function, state: object }} options.socket
 * @param {{ notify: Function, takeCounts: Function }} options.inbox
 */
export function createMuteStore({ api, socket, inbox }) {
  const replica = createReplica({ apply: applyEvent })
  const pending = new Map() // id → what the person has chosen
  const watched = new Map() // id → by how many
  const failed = new Set()

  const store = createStore(() => ({
    /** By job: true or false; a job that is not in it was not asked for. */
    muted: {},
  }))

  const show = () =>
    store.setState({ muted: Object.fromEntries([...[...replica.entries].map(([id, { value }]) => [id, value.muted]), ...pending]) })

  async function load(id) {
    const ticket = replica.begin()
    try {
      const { muted } = await api.isMuted(id)
      replica.settleOne(ticket, { id, muted })
      failed.delete(id)
      show()
    } catch (error) {
      replica.abandon(ticket)
      failed.add(id)
      throw error
    }
  }

  /** @returns {Promise<boolean>} whether it stands */
  async function mute(id, muted, { undo = true } = {}) {
    if (pending.has(id)) return true
    pending.set(id, muted)
    show()
    const sentAt = replica.entries.get(id)?.seq
    try {
      const overHttp = () => api.muteJob(id, muted)
      const connected = socket.state.getState().status === 'connected'
      inbox.takeCounts(await (connected ? socket.emit(muted ? 'job:mute' : 'job:unmute', { jobId: id }) : overHttp()))
      // An event may have said it, or something newer, already.
      if (replica.entries.get(id)?.seq === sentAt) {
        replica.add({ id, muted })
        replica.amend(id, () => ({ id, muted }))
      }
      if (undo) {
        const said = muted ? 'Muted. You only hear of it when you are needed.' : 'You hear of it again.'
        inbox.notify(said, () => void mute(id, !muted, { undo: false }))
      }
      return true
    } catch (error) {
      inbox.notify(`${muted ? 'It could not be muted.' : 'It could not be unmuted.'} ${error.message}`)
      return false
    } finally {
      pending.delete(id)
      show()
    }
  }

  const actions = {
    /** Mute a job, or unmute it. Resolves to whether it stands. */
    mute: (id, muted) => mute(id, muted),
    /** Keep known whether a job is muted. @returns {() => void} no longer */
    watch(id) {
      watched.set(id, (watched.get(id) ?? 0) + 1)
      if (!replica.entries.has(id)) load(id).catch(() => {})
      return () => {
        const left = watched.get(id) - 1
        if (left > 0) watched.set(id, left)
        else watched.delete(id)
      }
    },

    /** Take a server event in. */
    take(name, data, { offset }) {
      const outcome = replica.take(name, data, offset)
      if (outcome === 'foreign') actions.reload().catch(() => {})
      if (outcome !== 'applied') return
      replica.prune()
      show()
    },
    /** History was lost: ask anew for what is looked at, and forget the rest. Rejects with an `ApiError`. */
    async reload() {
      replica.forget()
      for (const id of [...replica.entries.keys()]) if (!watched.has(id)) replica.amend(id, () => null)
      show()
      // A job that is not there has an answer of its own.
      await Promise.all([...watched.keys()].map((id) => load(id).catch((error) => error.code === 'not_found' || Promise.reject(error))))
    },
    /** The connection is back: ask for what could not be asked for. */
    mend() {
      for (const id of watched.keys()) if (failed.has(id)) load(id).catch(() => {})
    },
    /** No list stands behind it: nothing has to be resumed for it. */
    offset: () => undefined,
    listed: () => undefined,
    streamFrom: (at) => replica.streamFrom(at),
  }
  return Object.assign(store, { actions })
}
