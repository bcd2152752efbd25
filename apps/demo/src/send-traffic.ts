import { parseArgs } from 'node:util'
import { ScoreError } from '@millrace/client'
import { sendTraffic, type TrafficReport } from './traffic'

const help = `npm run traffic -w @millrace/demo -- [options]

Asks a server of the demo (npm start) for a while, and says which version, rule and cell answered how many.

  --seconds N   how long: 1 to 600 (20)
  --rate N      requests a second: 1 to 2000 (200)
  --url URL     of the data port (http://127.0.0.1:8080)
  --seed N      what is asked, and by whom (1)
  --help`

class WrongUsage extends Error {}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '20' },
      rate: { type: 'string', default: '200' },
      url: { type: 'string', default: 'http://127.0.0.1:8080' },
      seed: { type: 'string', default: '1' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) {
    console.log(help)
    return 0
  }
  const { url } = values
  if (!URL.canParse(url)) throw new WrongUsage(`--url ${url}: must be like http://127.0.0.1:8080`)
  const seconds = numberOf('seconds', values.seconds, 600)
  const perSecond = numberOf('rate', values.rate, 2000)
  const seed = numberOf('seed', values.seed, 2 ** 31 - 1)
  console.log(`asks ${url} for ${seconds} s, ${perSecond} requests a second`)
  const report = await sendTraffic({ url, seconds, perSecond, seed })
  show(report)
  return Object.keys(report.failed).length === 0 ? 0 : 1
}

function numberOf(option: string, text: string, most: number): number {
  const value = Number(text)
  if (value >= 1 && value <= most) return value
  throw new WrongUsage(`--${option} ${text}: must be a number from 1 to ${most}`)
}

function show({ answered, failed }: TrafficReport): void {
  const rows = [
    ['objective', 'answered by', 'rule', 'cell', 'requests'],
    ...answered.map(({ objective, workflow, rule, cell, requests }) => {
      const all = answered.filter((one) => one.objective === objective).reduce((sum, one) => sum + one.requests, 0)
      return [objective, workflow, rule, cell ?? '', `${requests} (${Math.round((100 * requests) / all)} %)`]
    }),
  ]
  const widths = rows[0]!.map((_, c) => Math.max(...rows.map((row) => row[c]!.length)))
  for (const row of rows)
    console.log(
      row
        .map((cell, c) => cell.padEnd(widths[c]!))
        .join('  ')
        .trimEnd(),
    )
  for (const [code, count] of Object.entries(failed)) console.log(`${count} ended with ${code}`)
}

main()
  .then((code) => (process.exitCode = code))
  .catch((error: unknown) => {
    const { code, message } = error as NodeJS.ErrnoException
    console.error(error instanceof ScoreError ? `${message}: is the demo served there? (npm start)` : message)
    const wrong = error instanceof WrongUsage || String(code).startsWith('ERR_PARSE_ARGS')
    process.exitCode = wrong ? 2 : 1
  })
