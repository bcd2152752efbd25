import { Code, contextMax } from '@millrace/base'
import { textAt, type RequestView } from '@millrace/wire'
import { Right, type Principal } from './principal'
import type { Refused } from './refused'
import type { TenantCounts } from './tenant-counts'

const tenantName = new Uint32Array(Uint8Array.from(Buffer.from('tenant\0\0')).buffer)

/**
 * Has requests say the tenant that their caller proved to be: what rules, workflows, limits and metrics then see. One that
 * says another is refused rather than corrected: it is a mistake, or worse.
 */
export class Identity {
  /** A message with its tenant behind it; grows with the largest. */
  private words = new Uint32Array(1024)

  constructor(private readonly tenants: TenantCounts) {}

  /** Completes a verified request; or says why its caller may not ask it. */
  check(view: RequestView, who: Principal): Refused | null {
    if (who.revoked) return { code: Code.UNAUTHENTICATED, message: 'the key or certificate was taken away' }
    if (view.overrideKind !== 0 && (who.may & Right.override) === 0) return mayNot(who, 'override')
    if (who.tenant === '') {
      if (view.tenantLength === 0 || !this.tenants.isProven(view.words, view.tenantBegin, view.tenantLength))
        return null
      return { code: Code.UNAUTHENTICATED, message: `context.tenant: ${said(view)} shows a key or a certificate` }
    }
    if (view.tenantLength === 0) return this.add(view, who)
    if (isSaid(view, who)) return null
    return {
      code: Code.PERMISSION_DENIED,
      message: `context.tenant: says ${said(view)}, and the caller is ${who.tenant}; leave it out`,
    }
  }

  /**
   * Copies the message, and adds the attribute that it lacks behind it. Requests that name their tenant are spared the
   * copy; for one of a few hundred bytes it is 60 ns.
   */
  private add(view: RequestView, { said: { textWords, textLength } }: Principal): Refused | null {
    const i = view.contextCount
    if (i === contextMax)
      return { code: Code.INVALID_ARGUMENT, message: `context: ${contextMax} attributes leave no place for the tenant` }
    const at = view.words.length
    const end = at + tenantName.length + textWords.length
    if (end > this.words.length) this.words = new Uint32Array(2 ** Math.ceil(Math.log2(end)))
    const words = this.words.subarray(0, end)
    words.set(view.words)
    words.set(tenantName, at)
    words.set(textWords, at + tenantName.length)
    view.words = view.subjectWords = words
    view.buffer = words.buffer
    view.base = 0
    view.contextNameBegin[i] = at << 2
    view.contextNameLength[i] = 'tenant'.length
    view.contextKind[i] = 0
    view.contextTextBegin[i] = view.tenantBegin = (at + tenantName.length) << 2
    view.contextTextLength[i] = view.tenantLength = textLength
    view.contextCount++
    return null
  }
}

/** `what`: a right that a caller does not have. */
export function mayNot({ tenant }: Principal, what: keyof typeof Right): Refused {
  const who = tenant === '' ? 'who shows no key' : tenant
  return { code: Code.PERMISSION_DENIED, message: `${who} may not ${sayings[what]} ("may" in MILLRACE_TENANTS)` }
}

const sayings = { override: 'override', resolve: 'ask what would answer', rules: 'follow the rules' } as const

function isSaid(
  { words, tenantBegin, tenantLength }: RequestView,
  { said: { textWords, textLength } }: Principal,
): boolean {
  if (tenantLength !== textLength) return false
  const whole = textLength >>> 2
  const at = tenantBegin >>> 2
  for (let w = 0; w < whole; w++) if (words[at + w] !== textWords[w]) return false
  const tail = textLength & 3
  return tail === 0 || (words[at + whole]! & ((1 << (8 * tail)) - 1)) === textWords[whole]
}

function said(view: RequestView): string {
  return `'${textAt(view, view.tenantBegin, Math.min(view.tenantLength, 100))}'`
}
