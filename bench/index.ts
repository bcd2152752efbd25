import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { compare } from './compare/compare'
import { machine, writeResults } from './report'
import { writeReportPage } from './report-page'
import type { Options, Result, Suite } from './suite'
import { suites } from './suites'

/* The bench as a program: `npm run bench -- ...`, and what `millrace bench` starts. */

const width = Math.max('compare COMMIT'.length, ...suites.map(({ name }) => name.length))
const help = `millrace bench [suite...] [options], or npm run bench -- ...

${suites.map(({ name, about, usual }) => `  ${name.padEnd(width)}  ${about}${usual ? ' *' : ''}`).join('\n')}
  ${'compare COMMIT'.padEnd(width)}  this build against a commit's, in turns: paired ratios with their intervals; exit 1 when it is slower
  ${'engines'.padEnd(width)}  which engine runs a workflow fastest (millrace bench engines)

  --quick        in a fifth of the time, with wider spread
  --smoke        as short as it gets: that everything runs and answers rightly, not how fast
  --only TEXT    only what has it in its name: loads of road, workloads, rivals
  --profile      road: what each step takes, and profiles of the front thread and a pool thread
  --rounds N     rounds, interleaved (5)
  --seconds N    length of a run (3)
  --out FOLDER   where results are written: JSON, plots, and report.html of all that is there (bench/results)
  --help

Without a name: those with a *; with --smoke all. Compare ratios within one run only.`

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      smoke: { type: 'boolean', default: false },
      quick: { type: 'boolean', default: false },
      only: { type: 'string' },
      profile: { type: 'boolean', default: false },
      rounds: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '3' },
      out: { type: 'string', default: join(__dirname, '../results') },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return console.log(help)
  const { smoke, quick } = values
  const options: Options = {
    ...{ smoke, quick, only: values.only },
    profiles: values.profile ? join(values.out, 'profiles') : undefined,
    rounds: numberOf('rounds', values.rounds),
    seconds: numberOf('seconds', values.seconds),
    say: (line) => console.error(`  ${line}`),
  }
  const against = commitOf(positionals)
  const chosen =
    against !== undefined
      ? []
      : positionals.length > 0
        ? positionals.map(suiteOf)
        : suites.filter(({ usual }) => usual || smoke)
  const { cpu, cores, versions, date, command } = machine()
  console.log(`${command}\n${date}, Node ${versions['node']}, ${cores} x ${cpu}\n`)
  const keep = (name: string, result: Result): void => {
    console.log(`${result.text}\n`)
    if (smoke) return
    options.say(`written to ${writeResults(values.out, name, result)}`)
    options.say(`all that is there: ${writeReportPage(values.out, ['compare', ...suites.map((suite) => suite.name)])}`)
  }
  if (against !== undefined) {
    const result = await compare(against, options)
    keep('compare', result)
    if (result.slower) process.exitCode = 1
  } else for (const suite of chosen) keep(suite.name, await suite.run(options))
}

class WrongUsage extends Error {}

/** The commit that `compare` compares with; undefined where suites are named. */
function commitOf([first, ...rest]: readonly string[]): string | undefined {
  if (first !== 'compare') return undefined
  if (rest.length === 1) return rest[0]
  throw new WrongUsage('compare takes one commit, such as main or HEAD~1')
}

function suiteOf(name: string): Suite {
  const found = suites.find((suite) => suite.name === name)
  if (found !== undefined) return found
  throw new WrongUsage(`there is no suite '${name}'; there are ${suites.map((suite) => suite.name).join(', ')}`)
}

function numberOf(option: string, text: string): number {
  const value = Number(text)
  if (value > 0) return value
  throw new WrongUsage(`--${option} ${text}: must be a number above 0`)
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error)
  const wrong =
    error instanceof WrongUsage || String((error as NodeJS.ErrnoException).code).startsWith('ERR_PARSE_ARGS')
  // Servers that were started end with the channel to this process.
  process.exit(wrong ? 2 : 1)
})
