import { Agent, request } from 'node:http'
import { Agent as TlsAgent, request as requestTls } from 'node:https'
import { refusalOf, type ClientTls, type Connection } from './connection'
import { ScoreError } from './score-error'

/** One POST for each message, over connections that are kept alive; after one that failed, to the next address. */
export class HttpConnection implements Connection {
  private readonly agent: Agent
  private readonly request: typeof request
  /** Ends each request in flight. */
  private readonly cancels = new Set<() => void>()
  private closed = false
  private at = 0

  /** @param urls `http://host:port/v1/score`, or https, all of them alike */
  constructor(
    private readonly urls: readonly string[],
    private readonly options: {
      readonly headers: Readonly<Record<string, string>>
      readonly sockets: number
      readonly tls?: ClientTls
    },
  ) {
    const kept = { keepAlive: true, maxSockets: options.sockets }
    const secure = urls[0]!.startsWith('https:')
    this.agent = secure ? new TlsAgent({ ...kept, ...options.tls }) : new Agent(kept)
    this.request = secure ? requestTls : request
  }

  send(
    _id: bigint,
    message: Uint8Array,
    timeoutMs: number,
    headers?: Readonly<Record<string, string>>,
  ): Promise<Uint8Array> {
    const at = this.at
    const url = this.urls[at % this.urls.length]!
    // Once for all that fails together.
    const moveOn = (): void => void (this.at = Math.max(this.at, at + 1))
    return new Promise((resolve, reject) => {
      if (this.closed) return reject(isClosed())
      const timer = setTimeout(
        () => req.destroy(new ScoreError('DEADLINE_EXCEEDED', `no answer within ${timeoutMs} ms`)),
        timeoutMs,
      )
      const fail = (error: Error): void => {
        clearTimeout(timer)
        if (error instanceof ScoreError) return reject(error)
        moveOn()
        reject(new ScoreError('UNAVAILABLE', `${url}: ${error.message}`))
      }
      const req = this.request(
        url,
        {
          method: 'POST',
          agent: this.agent,
          headers: {
            ...this.options.headers,
            ...headers,
            'content-type': 'application/x-flatbuffers',
            'content-length': message.byteLength,
          },
        },
        (res) => {
          const pieces: Buffer[] = []
          res.on('data', (piece: Buffer) => pieces.push(piece))
          res.on('error', fail)
          res.on('end', () => {
            clearTimeout(timer)
            const body = Buffer.concat(pieces)
            if (res.statusCode === 503) moveOn()
            if (res.headers['content-type'] === 'application/x-flatbuffers') resolve(body)
            else
              reject(
                refusalOf(body.toString('utf8')) ??
                  new ScoreError(
                    'UNKNOWN',
                    `${url} answered ${res.statusCode}: ${body.toString('utf8').slice(0, 300)}`,
                  ),
              )
          })
        },
      )
      const cancel = (): void => {
        fail(isClosed())
        req.destroy()
      }
      this.cancels.add(cancel)
      req.on('error', fail)
      req.on('close', () => this.cancels.delete(cancel))
      req.end(message)
    })
  }

  async close(): Promise<void> {
    this.closed = true
    // One that waits for a connection would get one after its agent is gone.
    for (const cancel of this.cancels) cancel()
    this.agent.destroy()
    return Promise.resolve()
  }
}

function isClosed(): ScoreError {
  return new ScoreError('UNAVAILABLE', 'the client is closed')
}
