import { readFileSync } from 'node:fs'
import { performance } from 'node:perf_hooks'
import { pace, Refusal } from '@millrace/base'
import { LaneSpread, ScoreError, WebSocketConnection } from '@millrace/client'
import { decodeRecording, decodeReply, withRequestId } from '@millrace/wire'
import { build } from 'hdr-histogram-js'
import { readTls, type TlsOptions } from './ask-server'
import { Exit, print, printJson, progress, table, UsageError } from './output'
import { tokenOf } from './score'

export interface ReplayOptions extends TlsOptions {
  readonly url: string
  readonly speed: string
  readonly sockets: string
  readonly tokenFile?: string
  readonly json?: boolean
}

/** Milliseconds that an answer may take where its request does not say. */
const timeoutMs = 10_000

/**
 * Sends what servers recorded, as it arrived or so many times as fast: an open loop, so that times count from when a request
 * was due. Exit 1 when one was refused or failed.
 */
export async function replay(files: readonly string[], options: ReplayOptions): Promise<number> {
  const speed = positive('speed', options.speed)
  const sockets = Math.ceil(positive('sockets', options.sockets))
  if (!URL.canParse(options.url)) throw new UsageError(`--url ${options.url}: must be like http://127.0.0.1:8080`)
  const requests = readAll(files)
  const stream = new URL('/v1/stream', options.url)
  stream.protocol = stream.protocol === 'https:' ? 'wss:' : 'ws:'
  const token = tokenOf(options.tokenFile)
  const headers: Record<string, string> = token === '' ? {} : { authorization: `Bearer ${token}` }
  const spread = new LaneSpread()
  const connections = Array.from(
    { length: sockets },
    (_, i) => new WebSocketConnection([stream.href], i, { headers, tls: readTls(options) }, spread),
  )
  const tally = new Replayed()
  const answers: Promise<void>[] = []
  progress(
    `${requests.length} requests in ${((requests.at(-1)!.atMs - requests[0]!.atMs) / 1000 / speed).toFixed(1)} s ...`,
  )
  try {
    let [next, sent] = [0, 0]
    await pace(
      () => (next < requests.length ? (requests[next++]!.atMs - requests[0]!.atMs) / speed : Infinity),
      (dueMs) => {
        const { message } = requests[sent++]!
        const id = BigInt(sent)
        const answer = connections[sent % sockets]!.send(id, withRequestId(message, id), timeoutMs)
        answers.push(
          answer.then(
            (reply) => tally.answered(reply, dueMs),
            (error: unknown) => tally.failed(error),
          ),
        )
      },
      { napMs: 0.2 },
    ).done
    await Promise.all(answers)
  } finally {
    await Promise.all(connections.map((connection) => connection.close()))
  }
  const result = tally.result()
  if (options.json === true) printJson(result)
  else show(result)
  return Object.keys(result.codes).every((code) => code === 'OK') ? Exit.good : Exit.no
}

interface Timed {
  /** Milliseconds since 1970. */
  readonly atMs: number
  readonly message: Uint8Array
}

/** The requests of all files, such as those of several lanes, in the order in which they arrived. */
function readAll(files: readonly string[]): Timed[] {
  const requests = files.flatMap((file) => {
    try {
      const { beganMs, requests } = decodeRecording(readFileSync(file))
      return requests.map(({ arrivalUs, message }) => ({ atMs: beganMs + arrivalUs / 1000, message }))
    } catch (error) {
      const { message } = error as Error
      throw new UsageError(error instanceof Refusal ? `${file}: ${message}` : message)
    }
  })
  if (requests.length === 0) throw new UsageError(`${files.join(', ')}: nothing was recorded`)
  return requests.sort((a, b) => a.atMs - b.atMs)
}

/** What became of the requests. */
class Replayed {
  private readonly codes: Record<string, number> = {}
  private readonly latencies = build({ highestTrackableValue: 600_000_000, numberOfSignificantValueDigits: 3 })

  answered(reply: Uint8Array, dueMs: number): void {
    const { code } = decodeReply(reply)
    this.count(code)
    if (code === 'OK') this.latencies.recordValue(Math.max(1, Math.round((performance.now() - dueMs) * 1000)))
  }

  failed(error: unknown): void {
    if (!(error instanceof ScoreError)) throw error
    this.count(error.code)
  }

  result(): { codes: Readonly<Record<string, number>>; latency_us: Readonly<Record<string, number>> } {
    const at = (percentile: number): number => this.latencies.getValueAtPercentile(percentile)
    return {
      codes: this.codes,
      latency_us: { p50: at(50), p90: at(90), p99: at(99), p999: at(99.9), max: this.latencies.maxValue },
    }
  }

  private count(code: string): void {
    this.codes[code] = (this.codes[code] ?? 0) + 1
  }
}

function show({ codes, latency_us }: ReturnType<Replayed['result']>): void {
  print(table([['answered', 'requests'], ...Object.entries(codes).map(([code, count]) => [code, String(count)])]))
  const ms = Object.entries(latency_us).map(([name, us]) => `${name} ${(us / 1000).toFixed(2)} ms`)
  print(`\nfrom when they were due: ${ms.join(', ')}`)
}

function positive(option: string, text: string): number {
  const value = Number(text)
  if (value > 0 && Number.isFinite(value)) return value
  throw new UsageError(`--${option} ${text}: must be a number above 0`)
}
