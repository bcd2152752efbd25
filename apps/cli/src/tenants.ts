import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import type { Command } from 'commander'
import { hashOfKey, isKey, newKey, readTenants, type TenantsFile } from '@millrace/server'
import { Exit, print, printJson, progress, table, UsageError } from './output'

interface FileOption {
  readonly file?: string
}

/** `millrace tenants`: the file that MILLRACE_TENANTS names, and the keys that it holds the hashes of. */
export function addTenants(program: Command, exit: (code: number) => void): void {
  const tenants = program
    .command('tenants')
    .description('keys of tenants, and the file that servers know them by (MILLRACE_TENANTS)')
  const file = ['-f, --file <file>', 'the file of the tenants; else MILLRACE_TENANTS'] as const
  tenants
    .command('new')
    .description('make a key for a tenant: its hash goes into the file, the key to stdout, this once')
    .argument('<tenant>')
    .option(...file)
    .action((tenant: string, options: FileOption) => exit(newTenantKey(tenant, options)))
  tenants
    .command('hash')
    .description('the hash of a key that comes on stdin, as the file has it')
    .action(() => exit(hashKey()))
  tenants
    .command('list')
    .description('the tenants of the file, what they are known by and what they may')
    .option(...file)
    .option('--json', 'print JSON')
    .action((options: FileOption & { json?: boolean }) => exit(listTenants(options)))
}

/** Adds a key to a tenant, which is made where it is not there; servers take it up by themselves. */
function newTenantKey(tenant: string, options: FileOption): number {
  const path = fileOf(options)
  const { tenants }: TenantsFile = existsSync(path) ? readTenants(path) : { tenants: {} }
  const key = newKey(randomBytes(32))
  const before = Object.hasOwn(tenants, tenant) ? tenants[tenant]! : { keys: [], certificates: [], may: [] }
  const after = { ...before, keys: [...before.keys, hashOfKey(key)] }
  // Servers that look at it see all of it or nothing of it.
  writeFileSync(`${path}.part`, `${JSON.stringify({ tenants: { ...tenants, [tenant]: after } }, null, 2)}\n`)
  readTenants(`${path}.part`)
  renameSync(`${path}.part`, path)
  progress(`${tenant} has ${after.keys.length} in ${path}; the key, which is kept nowhere:`)
  print(key)
  return Exit.good
}

function hashKey(): number {
  const key = readFileSync(0, 'utf8').trim()
  if (!isKey(key))
    throw new UsageError(
      'a key is 32 to 512 characters without spaces, and random: millrace tenants new makes one, or openssl rand -base64 32',
    )
  print(hashOfKey(key))
  return Exit.good
}

function listTenants(options: FileOption & { readonly json?: boolean }): number {
  const { tenants } = readTenants(fileOf(options))
  if (options.json === true) printJson(tenants)
  else
    print(
      table([
        ['tenant', 'keys', 'certificates', 'may, beside scoring'],
        ...Object.entries(tenants).map(([tenant, { keys, certificates, may }]) => [
          tenant,
          String(keys.length),
          certificates.join(', '),
          may.join(', '),
        ]),
      ]),
    )
  return Exit.good
}

function fileOf({ file }: FileOption): string {
  const path = file ?? process.env['MILLRACE_TENANTS'] ?? ''
  if (path === '') throw new UsageError('which file? name it with --file, or in MILLRACE_TENANTS')
  return path
}
