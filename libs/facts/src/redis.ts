import { Breaker, Code, Refusal } from '@millrace/base'
import { Redis, type ChainableCommander } from 'ioredis'
import { ColumnsBuilder } from './columns'
import { checkKeyKind, decodeKey, encodeKey, isStringKeys, keyBytesMax } from './keys'
import { encodeRecord, planRecord, type RecordPlan } from './record'
import type { FactEntries, FactKeys, FactRows, FactStore, FactTable, Replacement } from './store'
import { plainTable, sameTable, tableNotFound, validateTable } from './table'

/*
 * Facts in Redis or Valkey, shared by many machines. Records are those of LMDB, byte for byte.
 *
 *   millrace:facts:state      a number that changes with every declaration
 *   millrace:facts:ids        the last table number that was taken
 *   millrace:facts:tables     hash: name to { id, table }, JSON
 *   millrace:facts:rows:<id>  hash: key to record
 *   millrace:facts:loading    hash: number of a table that is being loaded to its name
 *
 * One hash for a table, so that it is replaced and dropped in one step and nobody else's keys are looked at. A batch
 * is one round trip: its rows, then the state, which tells whether the declaration by which they are read still held.
 */

export interface RedisOptions {
  readonly readOnly: boolean
  /** Longest wait for an answer, milliseconds; default 100. Writers wait a hundred times as long. */
  readonly timeoutMs?: number
}

const prefix = 'millrace:facts:'
const stateKey = `${prefix}state`
const idsKey = `${prefix}ids`
const tablesKey = `${prefix}tables`
const loadingKey = `${prefix}loading`
const rowsKey = (id: number): string => `${prefix}rows:${id}`

const timeoutMsDefault = 100
const breakerLimits = { failuresMax: 5, openMs: 1000 }
const recordBytesMax = 16 * 2 ** 20
const fieldsAtOnce = 1000
const attemptsMax = 10

/** Opens facts at `redis://` or `rediss://`; nothing is asked before `ready`. */
export function openRedis(url: string, options: RedisOptions): RedisStore {
  return new RedisStore(url, options)
}

interface Declared {
  readonly id: number
  readonly plan: RecordPlan
}

export class RedisStore implements FactStore {
  readonly breaker: Breaker
  /** Host and port: what may be said of where it is. */
  readonly name: string
  private readonly client: Redis
  private readonly timeoutMs: number
  private readonly readOnly: boolean
  private declared = new Map<string, Declared>()
  private state = ''
  /** Why the connection is not there. */
  private problem = 'it was not reached yet'
  private denied = false
  /** Transactions of a connection go one after the other. */
  private writing: Promise<unknown> = Promise.resolve()

  constructor(url: string, { readOnly, timeoutMs = timeoutMsDefault }: RedisOptions) {
    this.name = `the fact store at ${placeOf(url)}`
    this.readOnly = readOnly
    this.timeoutMs = readOnly ? timeoutMs : 100 * timeoutMs
    this.breaker = new Breaker(this.name, breakerLimits)
    this.client = new Redis(url, {
      lazyConnect: true,
      // Nothing waits for a connection, and nothing is sent twice.
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      connectTimeout: 2000,
      keepAlive: 5000,
      retryStrategy: (times) => Math.min(50 * times, 1000),
      reconnectOnError: null,
    })
    this.client.on('close', () => (this.problem = 'the connection was closed'))
    this.client.on('error', (error: Error) => {
      this.problem = error.message
      this.denied = /WRONGPASS|NOAUTH|NOPERM|invalid password/i.test(error.message)
    })
  }

  async ready(): Promise<void> {
    if (this.client.status === 'wait') await this.client.connect().catch(() => undefined)
    // It connects again by itself, also when the first attempt fails.
    if (this.client.status !== 'ready') throw this.unreachable(this.problem)
    await this.ask(() => this.refresh())
  }

  tables(): readonly FactTable[] {
    return [...this.declared.values()].map(({ plan }) => plan.table)
  }

  async read(name: string, keys: FactKeys): Promise<FactRows> {
    if (!this.declared.has(name)) await this.ask(() => this.refresh())
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      const { id, plan } = this.find(name)
      checkKeyKind(plan.table, keys)
      const { fields, fieldOf } = distinct(keys)
      const [state, records] = await this.ask(() => this.readFields(id, fields))
      if (state !== this.state) {
        await this.ask(() => this.refresh())
        continue
      }
      const columns = new ColumnsBuilder(plan, keys.length, 16)
      for (let row = 0; row < keys.length; row++) {
        const record = fieldOf[row]! < 0 ? null : records[fieldOf[row]!]!
        if (record !== null) columns.put(row, record, record.length)
      }
      return columns.finish()
    }
    throw new Refusal(Code.UNAVAILABLE, `fact table \`${name}\` is declared anew again and again; try later`)
  }

  async declare(table: FactTable): Promise<void> {
    this.checkWritable()
    validateTable(table)
    await this.transact(stateKey, async (commands) => {
      const old = this.declared.get(table.name)
      if (old !== undefined && sameTable(old.plan.table, table)) return
      const id = await this.client.incr(idsKey)
      commands.hset(tablesKey, table.name, JSON.stringify({ id, table: plainTable(table) })).incr(stateKey)
      if (old !== undefined) commands.unlink(rowsKey(old.id))
    })
  }

  async write(name: string, rows: FactEntries): Promise<number> {
    this.checkWritable()
    const entries = [...rows]
    await this.transact(stateKey, async (commands) => {
      const { id, plan } = this.find(name)
      this.put(commands, id, plan, entries)
      return Promise.resolve()
    })
    return entries.length
  }

  async replace(table: FactTable): Promise<Replacement> {
    this.checkWritable()
    validateTable(table)
    const { name } = table
    const plan = planRecord(plainTable(table))
    await this.collect(name)
    const id = await this.ask(async () => {
      const taken = await this.client.incr(idsKey)
      await this.client.hset(loadingKey, String(taken), name)
      return taken
    })
    const checkOwner = async (): Promise<void> => {
      if ((await this.client.hget(loadingKey, String(id))) === name) return
      throw new Refusal(Code.ABORTED, `fact table \`${name}\`: another load of it has begun, this one is undone`)
    }
    return {
      write: async (rows) => {
        const entries = [...rows]
        await this.transact(loadingKey, async (commands) => {
          await checkOwner()
          this.put(commands, id, plan, entries)
        })
        return entries.length
      },
      commit: () =>
        this.transact(loadingKey, async (commands) => {
          await checkOwner()
          const old = this.declared.get(name)
          commands.hdel(loadingKey, String(id)).incr(stateKey)
          commands.hset(tablesKey, name, JSON.stringify({ id, table: plan.table }))
          if (old !== undefined) commands.unlink(rowsKey(old.id))
        }),
      abandon: () => this.collect(name),
    }
  }

  async count(name: string): Promise<number> {
    await this.ask(() => this.refresh())
    const { id } = this.find(name)
    return this.ask(() => this.client.hlen(rowsKey(id)))
  }

  async scan(name: string, onRow: (key: string | bigint, row: FactRows) => boolean): Promise<void> {
    await this.ask(() => this.refresh())
    const { id, plan } = this.find(name)
    let cursor = '0'
    do {
      const [next, fields] = await this.ask(() => this.client.hscanBuffer(rowsKey(id), cursor, 'COUNT', fieldsAtOnce))
      for (let i = 0; i < fields.length; i += 2) {
        const row = new ColumnsBuilder(plan, 1, fields[i + 1]!.length)
        row.put(0, fields[i + 1]!, fields[i + 1]!.length)
        if (!onRow(decodeKey(plan.table, fields[i]!), row.finish())) return
      }
      cursor = next.toString('latin1')
    } while (cursor !== '0')
  }

  close(): Promise<void> {
    this.client.disconnect()
    return Promise.resolve()
  }

  /** The rows and then the state, in one round trip. */
  private async readFields(id: number, fields: readonly Buffer[]): Promise<[string, (Buffer | null)[]]> {
    const commands = this.client.pipeline()
    if (fields.length > 0) commands.hmgetBuffer(rowsKey(id), ...fields)
    const answers = resultsOf(await commands.get(stateKey).exec())
    return [(answers.at(-1) as string | null) ?? '', fields.length > 0 ? (answers[0] as (Buffer | null)[]) : []]
  }

  private async refresh(): Promise<void> {
    // The state first: what is declared in between is then newer than it, and read again. No MULTI: it ends a WATCH.
    const [state, tables] = resultsOf(await this.client.pipeline().get(stateKey).hgetall(tablesKey).exec())
    const declared = new Map<string, Declared>()
    for (const [name, json] of Object.entries(tables as Record<string, string>)) {
      const { id, table } = JSON.parse(json) as { id: number; table: FactTable }
      declared.set(name, { id, plan: planRecord(table) })
    }
    this.declared = declared
    this.state = (state as string | null) ?? ''
  }

  /** `work` adds commands that are executed together if `watched` is still what it was before; else from the begin. */
  private transact(watched: string, work: (commands: ChainableCommander) => Promise<void>): Promise<void> {
    const run = this.writing.then(() =>
      this.ask(async () => {
        for (let attempt = 0; attempt < attemptsMax; attempt++) {
          await this.client.watch(watched, stateKey)
          await this.refresh()
          const commands = this.client.multi()
          try {
            await work(commands)
          } catch (error) {
            await this.client.unwatch()
            throw error
          }
          const answers = await commands.exec()
          if (answers === null) continue
          resultsOf(answers)
          return this.refresh()
        }
        throw new Refusal(Code.ABORTED, `${this.name}: others write to it all the time; try again`)
      }),
    )
    this.writing = run.catch(() => undefined)
    return run
  }

  private put(commands: ChainableCommander, id: number, plan: RecordPlan, entries: FactEntries): void {
    let fields: Buffer[] = []
    for (const [key, record] of entries) {
      const bytes = encodeRecord(plan, key, record)
      if (bytes.length > recordBytesMax)
        throw new Refusal(
          Code.INVALID_ARGUMENT,
          `fact table \`${plan.table.name}\`: a record has ${bytes.length} bytes, the limit is ${recordBytesMax}`,
        )
      if (fields.push(encodeKey(plan.table, key), bytes) < 2 * fieldsAtOnce) continue
      commands.hset(rowsKey(id), ...fields)
      fields = []
    }
    if (fields.length > 0) commands.hset(rowsKey(id), ...fields)
  }

  /** Drops what loads of a table left behind that did not end. */
  private collect(name: string): Promise<void> {
    return this.ask(async () => {
      for (const [id, owner] of Object.entries(await this.client.hgetall(loadingKey))) {
        if (owner !== name) continue
        await this.client.hdel(loadingKey, id)
        await this.client.unlink(rowsKey(Number(id)))
      }
    })
  }

  /** Asks the server, within the time limit and while the breaker allows; every error comes out as a Refusal. */
  private async ask<T>(work: () => Promise<T>): Promise<T> {
    const { opened } = this.breaker
    try {
      return await this.breaker.run(() => this.timed(work))
    } finally {
      // What is asked next gets a connection of its own, not one behind answers that nobody waits for.
      if (this.breaker.opened > opened && this.client.status === 'ready') this.client.disconnect(true)
    }
  }

  private async timed<T>(work: () => Promise<T>): Promise<T> {
    if (this.client.status !== 'ready') throw this.unreachable(this.problem)
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        const message = `${this.name} did not answer within ${this.timeoutMs} ms`
        reject(new Refusal(Code.DEADLINE_EXCEEDED, message))
      }, this.timeoutMs)
    })
    try {
      return await Promise.race([work(), late])
    } catch (error) {
      throw error instanceof Refusal ? error : this.unreachable((error as Error).message)
    } finally {
      clearTimeout(timer)
    }
  }

  private unreachable(why: string): Refusal {
    if (this.denied || /WRONGPASS|NOAUTH|NOPERM/.test(why))
      return new Refusal(Code.PERMISSION_DENIED, `${this.name} does not take the user or password: ${why}`)
    return new Refusal(Code.UNAVAILABLE, `${this.name} cannot be reached: ${why}`)
  }

  private checkWritable(): void {
    if (this.readOnly) throw new Refusal(Code.FAILED_PRECONDITION, `${this.name} is open for reading only`)
  }

  private find(name: string): Declared {
    return this.declared.get(name) ?? tableNotFound(name, this.tables())
  }
}

/** Host and port of a URL; never its user or password. */
function placeOf(url: string): string {
  try {
    const { hostname, port } = new URL(url)
    return `${hostname}:${port === '' ? '6379' : port}`
  } catch {
    throw new Refusal(Code.INVALID_ARGUMENT, 'facts: that is no URL, such as redis://user:password@host:6379/0')
  }
}

function resultsOf(answers: [Error | null, unknown][] | null): unknown[] {
  return (answers ?? []).map(([error, value]) => {
    if (error !== null) throw error
    return value
  })
}

/** The keys that a table can have, each once; and for each row its place among them, -1 where there is none. */
function distinct(keys: FactKeys): { fields: Buffer[]; fieldOf: Int32Array } {
  const places = new Map<string, number>()
  const fields: Buffer[] = []
  const fieldOf = new Int32Array(keys.length)
  for (let row = 0; row < keys.length; row++) {
    const field = isStringKeys(keys) ? keys.bytes(row) : bigEndian(keys[row]!)
    const text = field.toString('latin1')
    let place = field.length > keyBytesMax ? -1 : places.get(text)
    // A copy: the batch's memory is shared with other threads.
    if (place === undefined) {
      places.set(text, (place = fields.length))
      fields.push(Buffer.from(text, 'latin1'))
    }
    fieldOf[row] = place
  }
  return { fields, fieldOf }
}

function bigEndian(key: bigint): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(key)
  return bytes
}
