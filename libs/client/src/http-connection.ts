import { Agent, request } from 'node:http'
import { Agent as TlsAgent, request as requestTls } from 'node:https'
import { refusalOf, type ClientTls, type Connection } from './connection'
import { ScoreError } from './score-error'

/** One POST for each message, over connections that are kept alive. */
export class HttpConnection implements Connection {
  private readonly agent: Agent
  private readonly request: typeof request
  /** Ends each request in flight. */
  private readonly cancels = new Set<() => void>()
  private closed = false

  /** @param url `http://host:port/v1/score`, or https */
  constructor(
    private readonly url: string,
    private readonly options: {
      readonly headers: Readonly<Record<string, string>>
      readonly sockets: number
      readonly tls?: ClientTls
    },
  ) {
    const kept = { keepAlive: true, maxSockets: options.sockets }
    const secure = url.startsWith('https:')
    this.agent = secure ? new TlsAgent({ ...kept, ...options.tls }) : new Agent(kept)
    this.request = secure ? requestTls : request
  }

  send(
    _id: bigint,
    message: Uint8Array,
    timeoutMs: number,
    headers?: Readonly<Record<string, string>>,
  ): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      if (this.closed) return reject(isClosed())
      const timer = setTimeout(
        () => req.destroy(new ScoreError('DEADLINE_EXCEEDED', `no answer within ${timeoutMs} ms`)),
        timeoutMs,
      )
      const fail = (error: Error): void => {
        clearTimeout(timer)
        reject(error instanceof ScoreError ? error : new ScoreError('UNAVAILABLE', `${this.url}: ${error.message}`))
      }
      const req = this.request(
        this.url,
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
            if (res.headers['content-type'] === 'application/x-flatbuffers') resolve(body)
            else
              reject(
                refusalOf(body.toString('utf8')) ??
                  new ScoreError(
                    'UNKNOWN',
                    `${this.url} answered ${res.statusCode}: ${body.toString('utf8').slice(0, 300)}`,
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
