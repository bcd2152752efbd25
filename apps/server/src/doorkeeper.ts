import { hash } from 'node:crypto'
import { watchFile } from 'node:fs'
import { Code, Refusal } from '@millrace/base'
import type { Config } from './config'
import type { Log } from './log'
import { anybody, principal, rightsOf, type Principal } from './principal'
import { readTenants, type TenantsFile } from './tenants-file'
import type { TenantCounts } from './tenant-counts'
import type { Peer } from './tls'

/** How often the file is looked at. */
const pollMs = 1_000

/** What somebody shows who wants to be let in; empty: nothing. */
export interface Shown {
  /** The header `authorization`. */
  readonly authorization: string
  /** The header `x-api-key`. */
  readonly apiKey: string
  /** Of a certificate that was verified. */
  readonly peer: Peer | null
}

/** The doorkeeper of a lane: who is let in, and whom `tenants` has to take for nobody else. */
export function openDoorkeeper({ tenants: path, allowAnonymous }: Config, tenants: TenantCounts, log: Log): Doorkeeper {
  if (path === '') return new Doorkeeper(anybody)
  const strangers = allowAnonymous === 'yes' ? principal('', 0) : null
  const doorkeeper = new Doorkeeper(strangers, (names) => tenants.prove(names))
  doorkeeper.take(readTenants(path))
  doorkeeper.follow(path, log)
  return doorkeeper
}

/**
 * Says who somebody is, by a key or a certificate. Keys are found by their SHA-256: how long that takes tells something
 * of hashes alone, which nobody can choose a key by.
 */
export class Doorkeeper {
  private keys = new Map<string, Principal>()
  private certificates = new Map<string, Principal>()

  /**
   * @param strangers who shows nothing: let in as this one, or, where it is null, refused
   * @param named told of the tenants of the file, each time it is read
   */
  constructor(
    private readonly strangers: Principal | null,
    private readonly named: (tenants: readonly string[]) => void = () => undefined,
  ) {}

  /** Takes up a file. Those who are connected stay so, with the rights that it gives them; or none, without their key. */
  take({ tenants }: TenantsFile): void {
    const keys = new Map<string, Principal>()
    const certificates = new Map<string, Principal>()
    for (const [tenant, one] of Object.entries(tenants)) {
      const may = rightsOf(one.may)
      for (const key of one.keys) keys.set(key, kept(this.keys.get(key), tenant, may))
      for (const name of one.certificates) certificates.set(name, kept(this.certificates.get(name), tenant, may))
    }
    revoke(this.keys, keys)
    revoke(this.certificates, certificates)
    this.keys = keys
    this.certificates = certificates
    this.named(Object.keys(tenants))
  }

  /** Who shows this; a Refusal where nobody is let in by it. A key counts before a certificate. */
  whoIs({ authorization, apiKey, peer }: Shown): Principal | Refusal {
    // Nobody is asked: what is shown is for somebody in front of this server.
    if (this.strangers === anybody) return anybody
    if (authorization !== '' || apiKey !== '') {
      const key = apiKey !== '' ? apiKey : /^Bearer +(\S+)$/i.exec(authorization)?.[1]
      if (key === undefined) return refusal('authorization: is not Bearer and a key')
      if (apiKey !== '' && authorization !== '') return refusal('authorization and x-api-key: show one of them')
      return this.keys.get(`sha256:${hash('sha256', key, 'hex')}`) ?? refusal("the key is nobody's: was it taken away?")
    }
    if (peer !== null) {
      for (const name of [peer.commonName, ...peer.otherNames]) {
        const who = this.certificates.get(name)
        if (who !== undefined) return who
      }
      return refusal(`the certificate of ${peer.commonName.slice(0, 100)} is no tenant's (MILLRACE_TENANTS)`)
    }
    return this.strangers ?? refusal('show a key: Authorization: Bearer <key>, or x-api-key: <key>')
  }

  /** Takes up the file whenever it changes; what is not good is logged, and changes nothing. */
  follow(path: string, log: Log): void {
    const changed = (): void => {
      try {
        this.take(readTenants(path))
        log.info(`MILLRACE_TENANTS=${path}: the tenants are those that are there now`)
      } catch (error) {
        log.error(`${(error as Error).message}; the tenants that were there before stay`)
      }
    }
    watchFile(path, { interval: pollMs, persistent: false }, changed)
  }
}

function kept(before: Principal | undefined, tenant: string, may: number): Principal {
  if (before?.tenant !== tenant) return principal(tenant, may)
  before.may = may
  return before
}

function revoke(before: ReadonlyMap<string, Principal>, now: ReadonlyMap<string, Principal>): void {
  for (const [shown, who] of before) if (now.get(shown) !== who) who.revoked = true
}

function refusal(message: string): Refusal {
  return new Refusal(Code.UNAUTHENTICATED, message)
}
