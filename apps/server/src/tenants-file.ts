import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { z } from 'zod'
import { Refusal } from '@millrace/base'
import { parseJson } from '@millrace/wire'
import type { Config } from './config'
import { isLoopback } from './loopback'
import { rightNames } from './principal'

/*
 * The file of tenants: who they are known by, and what they may. Keys are kept as their SHA-256, without salt or
 * stretching: those slow down whoever guesses what people made up, and nobody guesses 256 random bits. Hence no key is
 * taken that somebody may have made up (`isKey`).
 */

const name = z.string().min(1).max(200)
const tenantSchema = z.strictObject({
  keys: z
    .array(z.string().regex(/^sha256:[0-9a-f]{64}$/, 'is not the hash of a key: millrace tenants hash makes one'))
    .default([]),
  certificates: z.array(name).default([]),
  may: z.array(z.enum(rightNames)).default([]),
})
const fileSchema = z.strictObject({ tenants: z.record(name, tenantSchema) })

export type TenantsFile = z.infer<typeof fileSchema>
/** As it is written. */
export type TenantsJson = z.input<typeof fileSchema>

/** What begins each key, so that one that got into the wrong place can be found there. */
const keyPrefix = 'mlr_'

/** Whether a text may be a key: one that `newKey` made, or something as long. */
export function isKey(key: string): boolean {
  return /^[\x21-\x7e]{32,512}$/.test(key)
}

/** @param bytes 32 random ones */
export function newKey(bytes: Buffer): string {
  return keyPrefix + bytes.toString('base64url')
}

/** As the file has it. */
export function hashOfKey(key: string): string {
  return `sha256:${createHash('sha256').update(key).digest('hex')}`
}

/** Throws an Error with everything that is wrong with the file. */
export function readTenants(path: string): TenantsFile {
  const problem = (why: string, cause?: unknown): Error => new Error(`MILLRACE_TENANTS=${path}: ${why}`, { cause })
  let json: unknown
  try {
    json = parseJson(readFileSync(path, 'utf8'))
  } catch (error) {
    throw problem(error instanceof Refusal ? error.message : `cannot be read: ${(error as Error).message}`, error)
  }
  const parsed = fileSchema.safeParse(json)
  const problems = parsed.success
    ? problemsOf(parsed.data)
    : parsed.error.issues.map(({ path: at, message }) => `${at.join('.')}: ${message}`)
  if (problems.length > 0) throw problem(problems.join('; '))
  return parsed.data!
}

/** Two tenants that are known by one thing. */
function problemsOf({ tenants }: TenantsFile): string[] {
  const problems: string[] = []
  const owners = new Map<string, string>()
  for (const [tenant, { keys, certificates }] of Object.entries(tenants))
    for (const shown of [...keys, ...certificates.map((one) => `certificate ${one}`)]) {
      const owner = owners.get(shown)
      if (owner !== undefined) problems.push(`tenants.${tenant}: ${shown} is ${owner}'s already`)
      owners.set(shown, tenant)
    }
  return problems
}

/** Adds what is wrong with the file to `problems`, and what may not be meant to `warnings`. */
export function checkTenants(
  { tenants: path, tlsCert, tlsClientCa, host }: Config,
  problems: string[],
  warnings: string[],
): void {
  if (path === '') return
  try {
    const { tenants } = readTenants(path)
    const certified = Object.keys(tenants).filter((tenant) => tenants[tenant]!.certificates.length > 0)
    if (certified.length > 0 && tlsClientCa === '')
      warnings.push(
        `MILLRACE_TENANTS=${path}: certificates of ${certified.join(', ')} are not asked for (MILLRACE_TLS_CLIENT_CA)`,
      )
    if (Object.keys(tenants).length === 0) warnings.push(`MILLRACE_TENANTS=${path}: has no tenant: nobody is let in`)
    if (tlsCert === '' && !isLoopback(host))
      warnings.push(
        'MILLRACE_TENANTS: keys cross the network as they are: set MILLRACE_TLS_CERT, or speak TLS in front',
      )
  } catch (error) {
    problems.push((error as Error).message)
  }
}
