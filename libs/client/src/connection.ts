import { codeOf, type CodeName } from '@millrace/base'
import { ScoreError } from './score-error'

/** A way to the server: sends messages, gives their replies back. */
export interface Connection {
  /**
   * Sends one encoded request and resolves with its encoded reply.
   *
   * Rejects with a ScoreError: DEADLINE_EXCEEDED when `timeoutMs` pass first, UNAVAILABLE when the connection breaks.
   *
   * @param id the request's own, unique among those in flight
   * @param headers of this request, where each has its own
   */
  send(
    id: bigint,
    message: Uint8Array,
    timeoutMs: number,
    headers?: Readonly<Record<string, string>>,
  ): Promise<Uint8Array>
  /** Lets go; requests in flight are rejected. */
  close(): Promise<void>
}

/** What a client shows, and whom it trusts, over `https:` and `wss:`. PEM. */
export interface ClientTls {
  /** Authorities that may have signed the server's certificate; else those that Node trusts. */
  readonly ca?: string | Buffer
  /** Of the client itself, with its chain, for servers that ask for one. */
  readonly cert?: string | Buffer
  readonly key?: string | Buffer
}

/** Headers with what a key is shown by. */
export function headersOf(options: {
  readonly token?: string
  readonly headers?: Readonly<Record<string, string>>
}): Readonly<Record<string, string>> {
  const { token, headers = {} } = options
  return token === undefined ? headers : { ...headers, authorization: `Bearer ${token}` }
}

/** Why a server refused a connection or a body whole, of the JSON that it answers then; null when it is none. */
export function refusalOf(body: string): ScoreError | null {
  try {
    const { code, message } = JSON.parse(body) as { code?: string; message?: string }
    return code === undefined || codeOf(code) === undefined ? null : new ScoreError(code as CodeName, String(message))
  } catch {
    return null
  }
}
