import { Code, Refusal, type DTypeName } from '@millrace/base'
import type { FactField, FactStore, FactTable } from './store'

/** Only what a declaration says, in one order of properties, so that two of them compare as text. */
export function plainTable(table: FactTable): FactTable {
  return {
    name: table.name,
    key: table.key,
    fields: table.fields.map(({ name, dtype, shape }) => ({ name, dtype, shape: [...shape] })),
  }
}

export function sameTable(a: FactTable, b: FactTable): boolean {
  return JSON.stringify(plainTable(a)) === JSON.stringify(plainTable(b))
}

/** Throws a Refusal INVALID_ARGUMENT when a declaration makes no sense. */
export function validateTable(table: FactTable): void {
  const refuse = (what: string): never => {
    throw new Refusal(Code.INVALID_ARGUMENT, `fact table \`${table.name}\`: ${what}`)
  }
  if (table.name === '') refuse('a table needs a name')
  if (Buffer.byteLength(table.name) > 200) refuse('its name is longer than 200 bytes')
  if (table.fields.length === 0) refuse('it declares no fields')
  const names = new Set<string>()
  for (const field of table.fields) {
    if (field.name === '') refuse('a field needs a name')
    if (names.has(field.name)) refuse(`field \`${field.name}\` is declared twice`)
    names.add(field.name)
    if (isText(field.dtype) && field.shape.length > 0)
      refuse(`field \`${field.name}\` is ${field.dtype} and cannot have a shape`)
    if (!field.shape.every((n) => Number.isInteger(n) && n > 0))
      refuse(`field \`${field.name}\` has shape [${field.shape.join(',')}]; dimensions are whole numbers above 0`)
  }
}

export function isText(dtype: DTypeName): dtype is 'string' | 'bytes' {
  return dtype === 'string' || dtype === 'bytes'
}

/** Throws a Refusal NOT_FOUND that names the tables that are there. */
export function tableNotFound(name: string, tables: readonly FactTable[]): never {
  const there = tables.map((table) => table.name).sort()
  throw new Refusal(
    Code.NOT_FOUND,
    `there is no fact table \`${name}\`; ${there.length > 0 ? `there are ${there.join(', ')}` : 'the store is empty'}`,
  )
}

/**
 * Checks at load that a store's table is what a reader was written for: the key kind, and at least these fields.
 *
 * @throws Refusal NOT_FOUND without the table, FAILED_PRECONDITION naming every difference
 */
export function checkTable(store: FactStore, wanted: FactTable): FactTable {
  const table = store.tables().find((other) => other.name === wanted.name) ?? tableNotFound(wanted.name, store.tables())
  const differences: string[] = []
  if (table.key !== wanted.key) differences.push(`its keys are ${table.key}, not ${wanted.key}`)
  for (const field of wanted.fields) {
    const there = table.fields.find((other) => other.name === field.name)
    if (there === undefined)
      differences.push(
        `it has no field \`${field.name}\` (it has ${table.fields.map((other) => other.name).join(', ')})`,
      )
    else if (describeField(there) !== describeField(field))
      differences.push(`field \`${field.name}\` is ${describeField(there)}, not ${describeField(field)}`)
  }
  if (differences.length > 0)
    throw new Refusal(Code.FAILED_PRECONDITION, `fact table \`${wanted.name}\`: ${differences.join('; ')}`)
  return table
}

/** `f32[8]` */
function describeField(field: FactField): string {
  return `${field.dtype}${field.shape.length > 0 ? `[${field.shape.join(',')}]` : ''}`
}
