import { askServer, type TlsOptions } from './ask-server'
import { UsageError } from './output'

export interface AdminOptions extends TlsOptions {
  /** Admin port of the server. */
  readonly url: string
  readonly json?: boolean
}

/** The answer of an admin port, with the token of the environment; throws an Error where it is a refusal. */
export async function askAdmin(
  { url, ...tls }: AdminOptions,
  method: string,
  path: string,
  body?: unknown,
  silenceMsMax?: number,
): Promise<unknown> {
  if (!URL.canParse(url)) throw new UsageError(`--url ${url}: must be like http://127.0.0.1:8081`)
  const token = process.env['MILLRACE_ADMIN_TOKEN']
  const { status, body: answered } = await askServer(
    new URL(path, url),
    {
      method,
      headers: {
        'content-type': 'application/json',
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...(silenceMsMax === undefined ? {} : { silenceMsMax }),
    },
    tls,
    'is this the admin port of a server?',
  )
  if (answered === null) throw new Error(`${url}: answers no JSON; is this the admin port of a server?`)
  const answer = answered as { code?: string; message?: string }
  if (status !== 200) throw new Error(`${answer.code}: ${answer.message}`)
  return answer
}
