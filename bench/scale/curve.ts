import { type Load, measure, type Run, type Target } from '@millrace/load'
import type { Axis, Plot } from '../plot'
import { figure, marked, median, table } from '../report'
import { startMillrace } from '../servers'
import { inFolder, roundsOf, timingOf, type Options } from '../suite'

/** What grows, and what it costs. */
export interface Curve {
  readonly name: string
  /** What x counts. */
  readonly x: string
  readonly points: readonly { readonly x: number; readonly runs: readonly Run[] }[]
}

/** One point of a curve: a load, on a server of its own where `env` is given. */
export interface Point {
  readonly x: number
  /** Of the server; points that follow each other with the same share it. */
  readonly env: Readonly<Record<string, string>>
  readonly load: Load
}

/** Rounds of a curve at most: there are many points. */
const roundsMax = 3

/**
 * Measures a curve. Where its points share a server the rounds are interleaved.
 *
 * @param points made in an empty folder
 */
export function measureCurve(
  name: string,
  x: string,
  options: Options,
  points: (folder: string) => readonly Point[],
): Promise<Curve> {
  return inFolder(async (folder) => {
    const all = points(folder)
    const runs = all.map((): Run[] => [])
    for (let begin = 0; begin < all.length; ) {
      const { env } = all[begin]!
      let end = begin
      while (end < all.length && all[end]!.env === env) end++
      const server = await startMillrace(env)
      try {
        for (let round = 0; round < Math.min(roundsMax, roundsOf(options)); round++)
          for (let i = begin; i < end; i++) runs[i]!.push(await measurePoint(name, all[i]!, server, options))
      } finally {
        await server.stop()
      }
      begin = end
    }
    return { name, x, points: all.map((point, i) => ({ x: point.x, runs: runs[i]! })) }
  })
}

async function measurePoint(name: string, { x, load }: Point, server: Target, options: Options): Promise<Run> {
  const run = await measure(server, load, timingOf(options))
  options.say(`${name} ${figure(x)}: ${figure(run.cpuUs)} us a request, ${figure(run.perSecond)}/s`)
  if (run.good === 0 || run.errors > 0) throw new Error(`${name} ${x}: ${JSON.stringify(run.codes)}`)
  return run
}

export function curveTable({ name, x, points }: Curve): string {
  return table([
    [`${name}: ${x}`, 'requests/s', 'server CPU us', 'p50 us', 'p99 us', 'batch rows', 'generator'],
    ...points.map(({ x, runs }) => {
      const mid = (of: (run: Run) => number): number => median(runs.map(of))
      return [
        figure(x),
        mid((run) => run.perSecond),
        mid((run) => run.cpuUs),
        mid((run) => run.latencyUs.p50),
        mid((run) => run.latencyUs.p99),
        mid((run) => run.batchRows),
        marked(runs),
      ]
    }),
  ])
}

/** What it costs and what it gives, over what grows. */
export function curvePlots({ name, x, points }: Curve): { name: string; plot: Plot }[] {
  const of = (what: (run: Run) => number): (readonly [number, number])[] =>
    points.map((point) => [point.x, median(point.runs.map(what))] as const)
  const log = (label: string): Axis => ({ label, scale: 'log' })
  const cost = { name: 'server CPU a request', points: of((run) => run.cpuUs) }
  const latencies = [
    { name: 'p50', points: of((run) => run.latencyUs.p50) },
    { name: 'p99', points: of((run) => run.latencyUs.p99) },
  ]
  const rate = { name: 'requests/s', points: of((run) => run.perSecond) }
  return [
    { name: `${name}-cost`, plot: { title: `Cost: ${x}`, x: log(x), y: log('us'), lines: [cost, ...latencies] } },
    { name: `${name}-rate`, plot: { title: `Rate: ${x}`, x: log(x), y: log('requests/s'), lines: [rate] } },
  ]
}
