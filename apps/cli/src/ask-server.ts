import { readFileSync } from 'node:fs'
import { request as requestPlain } from 'node:http'
import { request as requestTls, type RequestOptions } from 'node:https'
import { UsageError } from './output'

/** PEM files, for servers that speak TLS. */
export interface TlsOptions {
  /** Authorities that signed the server's certificate. */
  readonly ca?: string
  /** Of this client, for servers that ask for one. */
  readonly cert?: string
  readonly key?: string
}

export interface Asked {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  /** Milliseconds until a server that says nothing is given up; a minute. */
  readonly silenceMsMax?: number
}

export interface Answer {
  readonly status: number
  /** Parsed; null where the body is no JSON. */
  readonly body: unknown
}

/** A server's answer, whatever its status; throws an Error that says what to look at when there is none. */
export async function askServer(url: URL, asked: Asked, tls: TlsOptions, hint: string): Promise<Answer> {
  const { method = 'GET', headers = {}, body = '', silenceMsMax = 60_000 } = asked
  const options: RequestOptions = { method, agent: false, timeout: silenceMsMax, ...readTls(tls) }
  const request = url.protocol === 'https:' ? requestTls : requestPlain
  try {
    return await new Promise((resolve, reject) => {
      const length = { 'content-length': String(Buffer.byteLength(body)) }
      const req = request(url, { ...options, headers: { ...length, ...headers } }, (res) => {
        const pieces: Buffer[] = []
        res.on('data', (piece: Buffer) => pieces.push(piece))
        res.on('error', reject)
        res.on('end', () => resolve({ status: res.statusCode!, body: parsed(Buffer.concat(pieces).toString('utf8')) }))
      })
      req.on('timeout', () => req.destroy(new Error(`no answer for ${silenceMsMax / 1000} s`)))
      req.on('error', reject)
      req.end(body)
    })
  } catch (error) {
    const { message, code } = error as NodeJS.ErrnoException
    // A refused connection says so in its code alone.
    throw new Error(`${url.href}: ${message || code}; ${hint}`, { cause: error })
  }
}

/** What the files hold. Throws a UsageError that names one that cannot be read. */
export function readTls(tls: TlsOptions): Record<string, Buffer> {
  const read: Record<string, Buffer> = {}
  for (const part of ['ca', 'cert', 'key'] as const) {
    const file = tls[part]
    if (file === undefined) continue
    try {
      read[part] = readFileSync(file)
    } catch (error) {
      throw new UsageError(`--${part} ${file}: ${(error as Error).message}`)
    }
  }
  return read
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}
