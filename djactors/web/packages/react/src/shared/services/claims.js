/**
 * What a token says of its holder, for showing. Nothing is verified here: the server does that on every use.
 *
 * @returns {{ userId: number, tenantId: number, role: string, name: string | null, expiresAt: number } | null}
 *   `expiresAt` in milliseconds since 1970; null where the text is no token of a person.
 */
export function readClaims(token) {
  const parts = typeof token === 'string' ? token.trim().split('.') : []
  if (parts.length !== 3) return null
  try {
    const base64 = parts[1].replace(/-/g, '+').replace(/_/g, '/')
    const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0))
    const claims = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
    const { userId, tenantId, role, name, exp } = claims
    if (!Number.isSafeInteger(userId) || !Number.isSafeInteger(tenantId) || typeof exp !== 'number') return null
    return { userId, tenantId, role: String(role), name: typeof name === 'string' ? name : null, expiresAt: exp * 1000 }
  } catch {
    return null
  }
}
