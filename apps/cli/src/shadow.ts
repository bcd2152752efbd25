import type { Command } from 'commander'
import type { Example, ShadowReport } from '@millrace/server'
import { askAdmin, type AdminOptions } from './ask-admin'
import { Exit, paint, print, printJson, table } from './output'

/** What the admin port says of the shadows. */
interface Told {
  readonly shadows: readonly ShadowReport[]
  readonly paused: readonly {
    readonly lane: number
    readonly version: string
    readonly until: string
    readonly why: string
  }[]
}

/** `millrace shadow`: what copies of requests showed; returns the commands that ask a server. */
export function addShadow(program: Command, exit: (code: number) => void): readonly Command[] {
  const report = program
    .command('shadow')
    .description('what copies of requests to other versions showed (MILLRACE_ADMIN_TOKEN is sent where it is set)')
    .command('report')
    .description('how the answers of shadows differ, output by output, with the worst examples; exit 1 without shadows')
    .option('-u, --url <url>', 'admin port of the server', 'http://127.0.0.1:8081')
    .option('--json', 'print JSON')
    .action(async (options: AdminOptions) => exit(await reportShadows(options)))
  return [report]
}

/** How each shadow's answers differ; exit 1 when there is none. */
async function reportShadows(options: AdminOptions): Promise<number> {
  const told = (await askAdmin(options, 'GET', '/v1/shadows')) as Told
  const { shadows, paused } = told
  if (options.json === true) printJson(told)
  else {
    print(shadows.map(showReport).join('\n\n'))
    for (const { lane, version, until, why } of paused)
      print(`${paint('yellow', 'paused')} ${version} on lane ${lane} until ${until}: ${why}`)
    if (shadows.length === 0) print('there is no shadow: the rules in force have none')
  }
  return shadows.length > 0 ? Exit.good : Exit.no
}

function showReport(report: ShadowReport): string {
  const { shadow, objective, primary, rule, copy, percent, outputs, not_compared, examples } = report
  const share = percent === null ? 'not in the rules in force' : `${percent} % of its requests`
  return [
    `${paint('bold', shadow)} of ${objective}: ${copy} beside ${primary} (rule ${rule}), ${share}`,
    table([...copyRows(report), ...batchRows(report)]),
    ...(Object.keys(outputs).length > 0 ? ['', table(outputRows(outputs))] : []),
    ...not_compared.map((why) => `not compared: ${why}`),
    ...examples.flatMap((example) => ['', ...showExample(example, report)]),
  ].join('\n')
}

function copyRows({ copies, codes }: ShadowReport): string[][] {
  const { compared, failed, ...dropped } = copies
  const all = Object.entries(dropped).filter(([, count]) => count > 0)
  const why = all.map(([name, count]) => `${name} ${count}`).join(', ')
  const sum = all.reduce((total, [, count]) => total + count, 0)
  const differing = codes.filter(({ primary, copy }) => primary !== copy)
  return [
    ['copies', `${compared} compared, ${failed} failed, ${sum} dropped${why === '' ? '' : ` (${why})`}`],
    [
      'codes',
      differing.length === 0
        ? 'the same'
        : differing.map(({ primary, copy, count }) => `${primary} became ${copy}: ${count}`).join(', '),
    ],
  ]
}

function batchRows({ batch, primary, copy }: ShadowReport): string[][] {
  return [
    [`${primary} took`, tookOf(batch.primary)],
    [`${copy} took`, tookOf(batch.copy)],
  ]
}

function tookOf({ mean_ms, p99_ms, rows }: ShadowReport['batch']['copy']): string {
  return `${shown(mean_ms)} ms a batch, p99 ${shown(p99_ms)} ms, ${shown(rows)} rows`
}

function outputRows(outputs: ShadowReport['outputs']): string[][] {
  return [
    ['output', 'values', 'mean difference', 'max', 'beyond tolerance', 'Kendall tau', 'top overlap'],
    ...Object.entries(outputs).map(([name, output]) => [
      name,
      String(output.values),
      shown(output.mean),
      shown(output.max),
      `${shown(100 * output.beyond_tolerance)} %`,
      shown(output.kendall_tau?.mean),
      shown(output.top_overlap?.mean),
    ]),
  ]
}

function showExample(example: Example, { primary, copy }: ShadowReport): string[] {
  const { id, at, rows, difference, inputs } = example
  const title = difference === null ? 'one side has no number' : `differs by ${shown(difference)}`
  return [
    paint('dim', `request ${id} at ${at}, ${rows} rows: ${title}`),
    table([
      ['inputs', inputs === null ? 'not at hand' : JSON.stringify(inputs)],
      ...[[primary, example.primary] as const, [copy, example.copy] as const].map(([version, { code, outputs }]) => [
        version,
        outputs === null ? code : JSON.stringify(outputs),
      ]),
    ]),
  ]
}

/** Three digits are enough to tell versions apart. */
function shown(figure: number | null | undefined): string {
  return figure === null || figure === undefined ? '-' : String(Number(figure.toPrecision(3)))
}
