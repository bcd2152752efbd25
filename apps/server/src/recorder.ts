import { createWriteStream, openSync, rmSync, type WriteStream } from 'node:fs'
import { nowUs } from '@millrace/base'
import { recordHeadBytes, recordingHead, writeRecordHead } from '@millrace/wire'
import type { Config } from './config'
import type { Log } from './log'

/** Bytes that may wait for the disk; what comes then is not recorded. */
const waitingBytesMax = 4 * 2 ** 20

/** What the configuration asks for; several lanes have a file each. Throws as `open` does. */
export function recorderOf(
  { recordOneIn, recordFile, recordBytesMax, lanes }: Config,
  lane: number,
  log: Log,
): Recorder | undefined {
  if (recordOneIn === 0) return undefined
  const file = lanes === 1 ? recordFile : `${recordFile}.${lane}`
  return Recorder.open({ oneIn: recordOneIn, file, bytesMax: recordBytesMax }, log)
}

export interface RecorderOptions {
  /** One request in so many, at random. */
  readonly oneIn: number
  readonly file: string
  readonly bytesMax: number
}

/**
 * Writes a sample of a lane's requests to a file, as they came (`wire/recording.ts`), for `millrace replay` and the bench. It
 * has in it what clients send: only who runs the server may read it. The file begins anew with the lane, and what does not
 * fit is not in it; whatever becomes of it, requests are served.
 */
export class Recorder {
  private readonly beganUs = nowUs()
  /** Requests until the next one that is recorded. */
  private left: number
  private bytes: number
  private dropped = 0

  private constructor(
    private readonly options: RecorderOptions,
    private stream: WriteStream | null,
    private readonly log: Log,
  ) {
    const head = recordingHead(Date.now())
    this.bytes = head.length
    this.left = this.gap()
    stream!.write(head)
    stream!.on('error', (error) => this.end(`cannot be written: ${error.message}`))
  }

  /** Throws an Error when the file cannot be opened. */
  static open(options: RecorderOptions, log: Log): Recorder {
    const { file } = options
    try {
      // One that is there may still be written, by the lane that this one takes the place of.
      rmSync(file, { force: true })
      return new Recorder(options, createWriteStream(file, { fd: openSync(file, 'wx', 0o600) }), log)
    } catch (error) {
      throw new Error(`MILLRACE_RECORD_FILE: ${(error as Error).message}`)
    }
  }

  /** Told of every request that is one: `length` bytes at `base`, which are read before this returns. */
  see(buffer: ArrayBufferLike, base: number, length: number): void {
    if (--this.left > 0 || this.stream === null) return
    this.left = this.gap()
    this.record(this.stream, buffer, base, length)
  }

  /** Resolves when all is on the disk. */
  async close(): Promise<void> {
    const { stream } = this
    this.stream = null
    if (this.dropped > 0) this.log.warn(`${this.dropped} requests were not recorded: the disk was behind`)
    if (stream !== null && !stream.destroyed) await new Promise<void>((resolve) => stream.end(() => resolve()))
  }

  private record(stream: WriteStream, buffer: ArrayBufferLike, base: number, length: number): void {
    const bytes = recordHeadBytes + length
    if (this.bytes + bytes > this.options.bytesMax) return this.end('is full (MILLRACE_RECORD_BYTES_MAX)')
    if (stream.writableLength > waitingBytesMax) {
      this.dropped++
      return
    }
    const record = Buffer.allocUnsafe(bytes)
    writeRecordHead(record, 0, nowUs() - this.beganUs, length)
    record.set(new Uint8Array(buffer, base, length), recordHeadBytes)
    this.bytes += bytes
    stream.write(record)
  }

  /** Uniform, from 1 on, with `oneIn` as its mean: what comes at regular times is not always or never in it. */
  private gap(): number {
    return 1 + Math.floor(Math.random() * (2 * this.options.oneIn - 1))
  }

  private end(why: string): void {
    const { stream } = this
    if (stream === null) return
    this.stream = null
    stream.end()
    this.log.warn(`the recording ${this.options.file} ${why}; nothing more is recorded`)
  }
}
