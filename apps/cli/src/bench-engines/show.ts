import { paint, print, table } from '../output'
import type { Findings } from './bench-engines'
import type { Figure } from './tournament'

/** Findings for people. */
export function show(findings: Findings): void {
  const { workflow, pool, device, engineThreads, engines, requests, rounds, tolerance, others, recommendation } =
    findings
  print(
    `${paint('bold', workflow)} as pool ${pool} runs it (${device}, ${engineThreads} engine ${engineThreads === 1 ? 'thread' : 'threads'})`,
  )
  print(`microseconds a row, the whole batch: median of ${rounds} rounds, least and most; in models\n`)
  const sizes = [...new Set(engines.flatMap(({ figures }) => figures.map(({ rows }) => rows)))].sort((a, b) => a - b)
  print(
    table([
      ['rows', ...engines.map(({ engine }) => engine)],
      ...sizes.map((rows) => [
        String(rows),
        ...engines.map(({ figures }) => cell(figures.find((figure) => figure.rows === rows))),
      ]),
    ]),
  )
  print('')
  const what = `${requests.count} ${requests.golden ? 'golden' : 'made-up'} requests`
  const [first, ...rest] = engines
  for (const { engine, difference, agrees } of rest) {
    const apart = difference === Infinity ? 'other texts or codes' : `at most ${difference.toPrecision(2)} apart`
    print(
      `${paint(agrees ? 'green' : 'red', agrees ? 'agree' : 'apart')}  ${engine} and ${first!.engine}: ${apart} on ${what} (tolerance ${tolerance})`,
    )
  }
  if (!requests.golden)
    print(`${paint('yellow', 'note')}   no golden requests: rows are made up, seed ${requests.seed}`)
  for (const { engine, reason } of others) print(`${paint('yellow', 'note')}   not measured: ${engine}: ${reason}`)
  print(`\n${recommendation.reason}`)
  print(recommendation.set === null ? 'nothing to set' : `  ${recommendation.set}`)
}

function cell(figure: Figure | undefined): string {
  if (figure === undefined) return 'too slow'
  return `${short(figure.median)} (${short(figure.least)}-${short(figure.most)}; ${short(figure.inModels)})`
}

function short(us: number): string {
  return us >= 1000 ? String(Math.round(us)) : String(Number(us.toPrecision(3)))
}
