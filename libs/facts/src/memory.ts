import { Code, Refusal } from '@millrace/base'
import { ColumnsBuilder } from './columns'
import { checkKeyKind, encodeKey, isStringKeys } from './keys'
import { encodeRecord, planRecord, type RecordPlan } from './record'
import type { FactEntries, FactKeys, FactRows, FactStore, FactTable, Replacement } from './store'
import { plainTable, sameTable, tableNotFound, validateTable } from './table'

interface Stored {
  readonly plan: RecordPlan
  readonly records: Map<string | bigint, Buffer>
}

/** Facts in this thread's own memory: for tests, and for running a workflow offline. */
export class MemoryStore implements FactStore {
  private readonly stored = new Map<string, Stored>()
  /** Being loaded. */
  private readonly next = new Map<string, Stored>()

  ready(): Promise<void> {
    return Promise.resolve()
  }

  tables(): readonly FactTable[] {
    return [...this.stored.values()].map(({ plan }) => plan.table)
  }

  read(name: string, keys: FactKeys): FactRows {
    const { plan, records } = this.find(name)
    checkKeyKind(plan.table, keys)
    const columns = new ColumnsBuilder(plan, keys.length, 16)
    for (let i = 0; i < keys.length; i++) {
      const record = records.get(isStringKeys(keys) ? keys.at(i) : keys[i]!)
      if (record !== undefined) columns.put(i, record, record.length)
    }
    return columns.finish()
  }

  declare(table: FactTable): Promise<void> {
    return settle(() => {
      validateTable(table)
      const old = this.stored.get(table.name)
      if (old !== undefined && sameTable(old.plan.table, table)) return
      this.stored.set(table.name, { plan: planRecord(plainTable(table)), records: new Map() })
    })
  }

  write(name: string, rows: FactEntries): Promise<number> {
    return settle(() => put(this.find(name), rows))
  }

  replace(table: FactTable): Promise<Replacement> {
    return settle(() => {
      validateTable(table)
      const next: Stored = { plan: planRecord(plainTable(table)), records: new Map() }
      this.next.set(table.name, next)
      const checkOwner = (): void => {
        if (this.next.get(table.name) !== next)
          throw new Refusal(
            Code.ABORTED,
            `fact table \`${table.name}\`: another load of it has begun, this one is undone`,
          )
      }
      return {
        write: (rows) => settle(() => (checkOwner(), put(next, rows))),
        commit: () => settle(() => (checkOwner(), void this.stored.set(table.name, next))),
        abandon: () => settle(() => void this.next.delete(table.name)),
      }
    })
  }

  count(name: string): Promise<number> {
    return settle(() => this.find(name).records.size)
  }

  scan(name: string, onRow: (key: string | bigint, rows: FactRows) => boolean): Promise<void> {
    return settle(() => {
      const { plan, records } = this.find(name)
      for (const [key, record] of records) {
        const row = new ColumnsBuilder(plan, 1, record.length)
        row.put(0, record, record.length)
        if (!onRow(key, row.finish())) return
      }
    })
  }

  close(): Promise<void> {
    this.stored.clear()
    return Promise.resolve()
  }

  private find(name: string): Stored {
    return this.stored.get(name) ?? tableNotFound(name, this.tables())
  }
}

function put({ plan, records }: Stored, rows: FactEntries): number {
  const encoded: [string | bigint, Buffer][] = []
  for (const [key, record] of rows) {
    encodeKey(plan.table, key)
    encoded.push([key, encodeRecord(plan, key, record)])
  }
  for (const [key, record] of encoded) records.set(key, record)
  return encoded.length
}

/** What `work` answers or throws, as a promise. */
export function settle<T>(work: () => T): Promise<T> {
  return new Promise((resolve) => resolve(work()))
}
