import { readFileSync } from 'node:fs'
import type { FactField, FactStore, FactTable } from '@millrace/facts'
import { importDefault, isWorkflow, readRepository } from '@millrace/workflow'
import { UsageError } from '../output'
import { decimal, integer, listOf } from './convert'
import type { SourceRow } from './source'

/** A table and how it is known. */
export interface Declaration {
  readonly table: FactTable
  readonly from: string
}

/**
 * What a table is to be: a file says so, else it is declared already, else a workflow of the repository reads it.
 * Null when none of them knows.
 */
export async function knownDeclaration(
  name: string,
  typesFile: string | undefined,
  store: FactStore | null,
  repository: string | null,
): Promise<Declaration | null> {
  if (typesFile !== undefined) return { table: readTypes(name, typesFile), from: typesFile }
  const declared = store?.tables().find((table) => table.name === name)
  if (declared !== undefined) return { table: declared, from: 'the store, where it is declared' }
  return repository === null ? null : fromWorkflows(name, repository)
}

/** `{ "key": "string", "fields": { "budget": "f32", "affinities": "f32[16]" } }` */
function readTypes(name: string, file: string): FactTable {
  const wrong = (what: string): never => {
    throw new UsageError(
      `${file}: ${what}; it is { "key": "string" or "u64", "fields": { "<column>": "f32", "<column>": "f32[16]" } }`,
    )
  }
  let json: { key?: unknown; fields?: Record<string, unknown> } = {}
  try {
    json = JSON.parse(readFileSync(file, 'utf8')) as typeof json
  } catch (error) {
    return wrong((error as Error).message)
  }
  const { key, fields } = json
  if (key !== 'string' && key !== 'u64') return wrong(`its key is ${JSON.stringify(key)}`)
  if (typeof fields !== 'object' || fields === null) return wrong('it has no fields')
  return {
    name,
    key,
    fields: Object.entries(fields).map(([field, type]) => {
      const match = /^([a-z]+\d*)(\[(\d+(?:,\d+)*)\])?$/.exec(String(type))
      if (match === null || !dtypes.has(match[1]!)) return wrong(`field ${field} is ${JSON.stringify(type)}`)
      return { name: field, dtype: match[1] as FactField['dtype'], shape: match[3]?.split(',').map(Number) ?? [] }
    }),
  }
}

const dtypes: ReadonlySet<string> = new Set([
  ...['f32', 'f64', 'i8', 'u8', 'i16', 'u16', 'i32', 'u32', 'i64', 'u64', 'bool', 'string', 'bytes'],
])

/** Of several workflows that read the table, all of their fields. */
async function fromWorkflows(name: string, repository: string): Promise<Declaration | null> {
  const fields = new Map<string, FactField>()
  const readers: string[] = []
  let key: FactTable['key'] = 'string'
  for (const folder of readRepository(repository).versions) {
    // One that does not load is for `millrace check` to explain.
    const workflow = folder.workflowFile === null ? null : await importDefault(folder.workflowFile).catch(() => null)
    if (!isWorkflow(workflow)) continue
    for (const plan of workflow.facts.filter(({ table }) => table === name)) {
      key = plan.key
      for (const field of plan.fields)
        if (!fields.has(field.name))
          fields.set(field.name, { name: field.name, dtype: field.dtype, shape: field.shape })
      readers.push(`${folder.name}@${folder.version}`)
    }
  }
  if (fields.size === 0) return null
  return { table: { name, key, fields: [...fields.values()] }, from: [...new Set(readers)].join(', ') }
}

/** From what a file's first rows hold: i32 or i64, f32, bool, lists of f32, else string. Keys: u64, else string. */
export function inferred(name: string, keyColumn: string, rows: readonly SourceRow[]): FactTable {
  const columns = new Set<string>()
  for (const { values } of rows) for (const column in values) columns.add(column)
  const seen = (column: string): unknown[] =>
    rows.flatMap(({ values }) => {
      const value = values?.[column]
      return value === undefined || value === null || value === '' ? [] : [value]
    })
  columns.delete(keyColumn)
  const keys = seen(keyColumn)
  const isNumber = (key: unknown): boolean => {
    const n = integer(key)
    return n !== null && n >= 0n && String(n) === String(key as string)
  }
  return {
    name,
    key: keys.length > 0 && keys.every(isNumber) ? 'u64' : 'string',
    fields: [...columns].map((column) => {
      const values = seen(column)
      return { name: column, ...typeOf(values, values.length === rows.length) }
    }),
  }
}

function typeOf(values: readonly unknown[], complete: boolean): Pick<FactField, 'dtype' | 'shape'> {
  const all = (is: (value: unknown) => boolean): boolean => values.length > 0 && values.every(is)
  if (complete && all((value) => /^(true|false)$/i.test(String(value as string)))) return { dtype: 'bool', shape: [] }
  if (complete && all((value) => integer(value) !== null)) {
    const small = all((value) => BigInt.asIntN(32, integer(value)!) === integer(value))
    return { dtype: small ? 'i32' : 'i64', shape: [] }
  }
  if (all((value) => typeof value === 'number' || decimal(value) !== null || integer(value) !== null))
    return { dtype: 'f32', shape: [] }
  const length = listOf(values[0])?.length ?? 0
  if (length > 0 && all((value) => listOf(value)?.length === length)) return { dtype: 'f32', shape: [length] }
  return { dtype: 'string', shape: [] }
}

/** `budget f32`, `affinities f32[16]` */
export function describeField({ name, dtype, shape }: FactField): string {
  return `${name} ${dtype}${shape.length > 0 ? `[${shape.join(',')}]` : ''}`
}
