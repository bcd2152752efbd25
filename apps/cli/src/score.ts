import { readFileSync } from 'node:fs'
import { askServer, type TlsOptions } from './ask-server'
import { Exit, paint, print, printJson, table, UsageError } from './output'
import { readRequest } from './read-request'

const rowsShown = 20

export interface ScoreOptions extends TlsOptions {
  /** Data port of the server. */
  readonly url: string
  /** A file that holds the key of a tenant; else MILLRACE_TOKEN. */
  readonly tokenFile?: string
  readonly json?: boolean
}

interface Reply {
  readonly code: string
  readonly message?: string
  readonly workflow?: string
  readonly version?: number
  readonly rule?: string
  readonly cell?: string | null
  readonly outputs?: Readonly<Record<string, unknown>>
  readonly timings_us?: Readonly<Record<string, number>>
}

/** Sends the request of a file (or a list of them) and shows the answer; exit 1 when one was refused. */
export async function score(file: string, options: ScoreOptions): Promise<number> {
  const { url, json } = options
  if (!URL.canParse(url)) throw new UsageError(`--url ${url}: must be like http://127.0.0.1:8080`)
  const request = readRequest(file)
  const replies = await send(options, request)
  if (json === true) printJson(Array.isArray(request) ? replies : replies[0])
  else replies.forEach((reply) => show(reply))
  return replies.every(({ code }) => code === 'OK') ? Exit.good : Exit.no
}

async function send({ url, tokenFile, ...tls }: ScoreOptions, request: unknown): Promise<Reply[]> {
  const token = tokenOf(tokenFile)
  const { body } = await askServer(
    new URL('/v1/score', url),
    {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...(token === '' ? {} : { authorization: `Bearer ${token}` }) },
      body: JSON.stringify(request),
    },
    tls,
    'is the server running? (millrace serve)',
  )
  if (body === null) throw new Error(`${url}: answers no JSON; is this the data port of a server?`)
  const replies = body as Reply | Reply[]
  return Array.isArray(replies) ? replies : [replies]
}

function show({ code, message, workflow, version, rule, cell, outputs, timings_us }: Reply): void {
  const route =
    workflow === undefined
      ? ''
      : `  ${workflow}@${version}, rule ${rule}${(cell ?? null) === null ? '' : `, cell ${cell}`}`
  print(`${paint(code === 'OK' ? 'green' : 'red', code)}${route}`)
  if (message !== undefined) print(message)
  if (outputs !== undefined) showOutputs(outputs)
  if (timings_us !== undefined)
    print(
      paint(
        'dim',
        Object.entries(timings_us)
          .map(([stage, us]) => `${stage} ${us} us`)
          .join(', '),
      ),
    )
}

/** Columns per row side by side; those per request above them. */
function showOutputs(outputs: Readonly<Record<string, unknown>>): void {
  const columns = Object.entries(outputs)
  const perRow = columns.filter((column): column is [string, unknown[]] => Array.isArray(column[1]))
  for (const [name, value] of columns) if (!Array.isArray(value)) print(`${name}: ${short(value)}`)
  if (perRow.length === 0) return
  const rows = Math.max(...perRow.map(([, values]) => values.length))
  const shown = Math.min(rows, rowsShown)
  print(
    table([
      ['row', ...perRow.map(([name]) => name)],
      ...Array.from({ length: shown }, (_, row) => [String(row), ...perRow.map(([, values]) => short(values[row]))]),
    ]),
  )
  if (rows > shown) print(paint('dim', `... ${rows - shown} more rows (--json shows all)`))
}

function short(value: unknown): string {
  if (typeof value === 'number' && !Number.isInteger(value)) return String(Number(value.toPrecision(6)))
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  return text.length > 60 ? `${text.slice(0, 57)}...` : text
}

/** Not an option of its own: whoever lists processes would read it. */
export function tokenOf(file: string | undefined): string {
  if (file === undefined) return process.env['MILLRACE_TOKEN'] ?? ''
  try {
    return readFileSync(file, 'utf8').trim()
  } catch (error) {
    throw new UsageError(`--token-file ${file}: ${(error as Error).message}`)
  }
}
