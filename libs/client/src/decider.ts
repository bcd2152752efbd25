import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { WebSocket } from 'ws'
import { codeNames, type Context } from '@millrace/base'
import {
  advance,
  compileRules,
  lookUp,
  NoRoute,
  parseRules,
  PlainAsker,
  refuseOverride,
  routingKey,
  versionsNamed,
  type RulesFile,
  type Table,
} from '@millrace/rules'
import type { OverrideMessage, RouteMessage } from '@millrace/wire'
import { headersOf, type ClientTls } from './connection'
import { ScoreError } from './score-error'

export interface DeciderOptions {
  /** Data port of a server, or of what balances between several: `http://host:8080`. */
  readonly url: string
  /** Keeps the last rules, so that a start without a server decides by them. */
  readonly file?: string
  /** The key of a tenant that may follow the rules, for servers that ask who somebody is. */
  readonly token?: string
  readonly headers?: Readonly<Record<string, string>>
  /** Over `https:`: whom to trust, and what to show. */
  readonly tls?: ClientTls
  /** Milliseconds that the first rules may take; default 10,000. With rules in the file a server gets a tenth of it. */
  readonly timeoutMs?: number
}

export interface DeciderRequest {
  readonly objective: string
  readonly subject?: string | bigint | null
  readonly context?: Context
  readonly override?: OverrideMessage | null
}

export interface Decided extends RouteMessage {
  /** For `x-millrace-routing-key`: the same text for requests that the same version answers. */
  readonly routingKey: string
}

/** What a server tells, and what the file keeps. */
interface Told {
  readonly rules_version: number
  readonly rules: RulesFile
  /** In the file: when a server last said so, ms since 1970. */
  readonly heard?: number
}

const backOffMs = { first: 100, most: 10_000 }
/** Canaries ramp by this clock. */
const tickMs = 1_000
/** A server pings every two minutes: one that does not is gone without having said so. */
const silenceMsMax = 150_000
const noContext = {}

/**
 * Decides as the server would, without asking it: it holds the rules, is told when they change, and goes on with what
 * it has when nobody tells. A decision is a look-up in memory.
 */
export class Decider {
  private table: Table | null = null
  /** When the rules were last known to be those in force, ms since 1970. */
  private heardMs = 0
  /** The same by a clock that nobody sets. */
  private heardAt = 0
  private socket: WebSocket | null = null
  private readonly asker = new PlainAsker()
  private readonly closing = new AbortController()
  private readonly clock: NodeJS.Timeout
  private readonly url: string
  private saving: Promise<void> = Promise.resolve()
  private tell!: () => void
  private readonly told = new Promise<void>((resolve) => (this.tell = resolve))

  private constructor(private readonly options: DeciderOptions) {
    const url = new URL('/v1/stream', options.url)
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:'
    this.url = url.href
    this.clock = setInterval(() => this.tick(), tickMs).unref()
  }

  /**
   * Resolves with the first rules, the server's or, where none answers, those of the file.
   *
   * Rejects with a ScoreError UNAVAILABLE when there are neither.
   */
  static async open(options: DeciderOptions): Promise<Decider> {
    const decider = new Decider(options)
    const timeoutMs = options.timeoutMs ?? 10_000
    const kept = await decider.readFile()
    void decider.follow()
    const waiting = new AbortController()
    const late = sleep(kept ? timeoutMs / 10 : timeoutMs, undefined, { signal: waiting.signal }).catch(() => undefined)
    await Promise.race([decider.told, late])
    waiting.abort()
    if (decider.table !== null) return decider
    await decider.close()
    throw new ScoreError('UNAVAILABLE', `${options.url} told no rules within ${timeoutMs} ms, and none were kept`)
  }

  /** Of the rules that it decides by. */
  get rulesVersion(): number {
    return this.table!.version
  }

  /** A server is there and will tell when the rules change. */
  get connected(): boolean {
    return this.socket !== null
  }

  /** Milliseconds since the rules were last known to be those in force; 0 while connected. */
  get ageMs(): number {
    return this.connected ? 0 : Date.now() - this.heardMs
  }

  /**
   * What answers a request; null for an objective that is not known.
   *
   * Throws a ScoreError, as the server refuses, for an override that the rules do not allow.
   */
  decide({ objective, subject, context = noContext, override = null }: DeciderRequest): Decided | null {
    const table = this.table!
    const route = lookUp(table, this.asker.set(objective, subject, context, override))
    if (route === NoRoute.REFUSED) {
      const { code, message } = refuseOverride(table.rules, objective, context, override!)
      throw new ScoreError(codeNames[code]!, message)
    }
    if (route < 0) return null
    const { workflow, version, rule, cell } = table.routes[route]!
    return { workflow, version, rule, cell, rulesVersion: table.version, routingKey: routingKey(workflow, version) }
  }

  async close(): Promise<void> {
    this.closing.abort()
    clearInterval(this.clock)
    this.socket?.terminate()
    await this.saving
  }

  /** Connects, again and again, until it is closed. */
  private async follow(): Promise<void> {
    for (let failures = 0; !this.closing.signal.aborted; ) {
      if (await this.session()) failures = 0
      const ms = Math.min(backOffMs.most, backOffMs.first * 2 ** failures++)
      // With jitter, so that a fleet does not come back as one.
      await sleep(ms * (0.5 + Math.random() / 2), undefined, { signal: this.closing.signal, ref: false }).catch(
        () => undefined,
      )
    }
  }

  /** One connection, to its end; whether it told any rules. */
  private session(): Promise<boolean> {
    return new Promise((resolve) => {
      let told = false
      const socket = new WebSocket(this.url, {
        headers: headersOf(this.options),
        handshakeTimeout: 10_000,
        perMessageDeflate: false,
        ...this.options.tls,
      })
      const { signal } = this.closing
      const end = (): void => socket.terminate()
      signal.addEventListener('abort', end, { once: true })
      socket.on('open', () => socket.send('{"subscribe":"rules"}'))
      socket.on('ping', () => this.heard())
      socket.on('message', (data: Buffer, isBinary: boolean) => {
        if (isBinary || !this.take(data.toString('utf8'))) return
        told = true
        this.socket = socket
        this.tell()
      })
      // 'close' follows.
      socket.on('error', () => undefined)
      socket.once('close', () => {
        signal.removeEventListener('abort', end)
        if (this.socket === socket) this.socket = null
        resolve(told)
      })
    })
  }

  /** Rules that this release does not understand change nothing: those before decide, and their age says so. */
  private take(text: string): boolean {
    try {
      const told = JSON.parse(text) as Told
      this.table = tableOf(told)
      if (told.heard === undefined) {
        this.heard()
        this.keep(told)
      } else this.heardMs = told.heard
      return true
    } catch {
      return false
    }
  }

  private heard(): void {
    this.heardMs = Date.now()
    this.heardAt = performance.now()
  }

  private tick(): void {
    if (this.table !== null) advance(this.table, Date.now())
    if (this.socket !== null && performance.now() - this.heardAt > silenceMsMax) this.socket.terminate()
  }

  private async readFile(): Promise<boolean> {
    const { file } = this.options
    const text = file === undefined ? null : await readFile(file, 'utf8').catch(() => null)
    return text !== null && this.take(text)
  }

  /** Whole or not at all. */
  private keep(told: Told): void {
    const { file } = this.options
    if (file === undefined) return
    const text = JSON.stringify({ ...told, heard: this.heardMs })
    this.saving = this.saving.then(async () => {
      await mkdir(dirname(file), { recursive: true })
      await writeFile(`${file}.${process.pid}`, text)
      await rename(`${file}.${process.pid}`, file)
    })
    // It decides all the same.
    this.saving = this.saving.catch(() => undefined)
  }
}

function tableOf({ rules_version, rules }: Told): Table {
  const parsed = parseRules(rules)
  return compileRules(parsed, versionsNamed(parsed), rules_version)
}
