import { hash } from 'node:crypto'
import { Refusal, type CodeName } from '@millrace/base'
import { anybody, Doorkeeper, principal, type Principal } from '@millrace/server/in-process'
import type { Chance } from '../chance'
import type { World } from './world'

type TenantsFile = Parameters<Doorkeeper['take']>[0]

/** A key of a tenant. One that is taken away is another's when it comes again. */
interface Key {
  readonly text: string
  revoked: boolean
}

/** Whoever is at the other end of a connection, as the file of tenants had it when it was opened. */
export interface Guest {
  readonly who: Principal
  /** Empty: it shows no key. */
  readonly tenant: string
  readonly key: Key | null
}

const names = ['t0', 't1', 't2'] as const
/** Whoever shows nothing, where somebody is asked. */
const stranger = principal('', 0)

/** Who asks a lane: tenants with keys that come and go, and whoever shows none; in some of the seeds nobody is asked. */
export class SimulatedTenants {
  private readonly isAsked: boolean
  private readonly doorkeeper: Doorkeeper
  private readonly keys = new Map<string, Key>()
  private file: TenantsFile = { tenants: {} }

  /** @param prove told of those who have to prove who they are */
  constructor(
    private readonly world: World,
    prove: (names: readonly string[]) => void,
  ) {
    this.isAsked = world.chance.holds(0.6)
    this.doorkeeper = this.isAsked ? new Doorkeeper(stranger, prove) : new Doorkeeper(anybody)
    if (this.isAsked) this.change()
  }

  /** The file changes: keys are taken away and given, rights too. */
  change(): void {
    if (!this.isAsked) return
    const { chance } = this.world
    for (const name of names) {
      const key = this.keys.get(name)
      if (key === undefined && chance.holds(0.9)) this.keys.set(name, { text: `the-key-of-${name}`, revoked: false })
      if (key === undefined || chance.holds(0.7)) continue
      key.revoked = true
      this.keys.delete(name)
    }
    this.file = { tenants: Object.fromEntries(names.map((name) => [name, this.randomTenant(name)])) }
    this.doorkeeper.take(this.file)
    this.world.tell(() => `those with keys are ${[...this.keys.keys()].join(', ')}`)
  }

  /** Somebody who connects. */
  randomGuest(): Guest {
    const { chance } = this.world
    const tenant = chance.pick(['', ...this.keys.keys()])
    const key = this.keys.get(tenant) ?? null
    const shown = key === null ? nothing : chance.holds(0.5) ? bearer(key.text) : { ...nothing, apiKey: key.text }
    const who = this.doorkeeper.whoIs(shown)
    if (who instanceof Refusal) throw who
    return { who, tenant, key }
  }

  /** Why a request is refused whose caller says that he is `said`; null: it is not. */
  refusalOf({ tenant, key }: Guest, said: string): CodeName | null {
    if (key?.revoked === true) return 'UNAUTHENTICATED'
    if (tenant === '') return Object.hasOwn(this.file.tenants, said) ? 'UNAUTHENTICATED' : null
    return said === '' || said === tenant ? null : 'PERMISSION_DENIED'
  }

  /** Whether somebody may ask what would answer. */
  mayResolve({ tenant }: Guest): boolean {
    return !this.isAsked || this.file.tenants[tenant]?.may.includes('resolve') === true
  }

  private randomTenant(name: string): TenantsFile['tenants'][string] {
    const key = this.keys.get(name)
    const keys = key === undefined ? [] : [`sha256:${hash('sha256', key.text, 'hex')}`]
    return { keys, certificates: [], may: this.world.chance.holds(0.5) ? ['resolve'] : [] }
  }
}

/** What a request says who asks: mostly nothing, or the truth. */
export function randomSaid(chance: Chance, { tenant }: Guest): string {
  const other = chance.pick([...names, 'a name that somebody made up'])
  return chance.holds(0.7) ? '' : chance.holds(0.8) ? tenant : other
}

/** Of rules: whose requests they are about. */
export function randomTenant(chance: Chance): string {
  return chance.pick(names)
}

const nothing = { authorization: '', apiKey: '', peer: null }

function bearer(key: string): typeof nothing {
  return { ...nothing, authorization: `Bearer ${key}` }
}
