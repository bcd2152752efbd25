import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Load, measure, type Run } from '@millrace/load'
import { encodeRecording } from '@millrace/wire'
import { figure, marked, median, table } from '../report'
import { inFolder, roundsOf, timingOf, type Options, type Suite } from '../suite'
import { millraceHttp, millraceWebSocket } from './adapters/millrace'
import { rivals } from './rivals'
import type { Rival, RivalServer } from './rival'

/** Both in flight at once: over WebSocket on four sockets, over HTTP on as many sockets as there are requests. */
const concurrencies = [64, 1024] as const
/** Scores that are compared before anything is measured, and how far apart they may be. */
const scoresCompared = 20
const tolerance = 1e-4
const requests = 1024
/** What the others are compared with, and at how many in flight the README says so. */
const ours = [
  { name: millraceWebSocket.name, comparedAt: 1024 },
  { name: millraceHttp.name, comparedAt: 64 },
] as const

export interface RivalResult {
  readonly rival: string
  readonly about: string
  readonly versions: readonly string[]
  readonly inFlight: number
  readonly runs: readonly Run[]
}

export const rival: Suite = {
  name: 'rival',
  about: 'the same model, the same answers: Millrace and what people use today, in turns',
  usual: false,
  run: (options) =>
    inFolder(async (folder) => {
      const skipped: string[] = []
      const here = rivals.filter((one) => {
        // Ours always: answers and CPU are compared with theirs.
        if (!ours.some(({ name }) => name === one.name) && !isNamed(one, options)) return false
        const missing = one.missing()
        if (missing !== null) skipped.push(`${one.name} is skipped: ${missing}`)
        return missing === null
      })
      const loads = await benchRivals(here, folder, options)
      const names = [...new Set(loads.map((one) => one.rival))]
      const plot = {
        title: 'Server CPU a request',
        y: { label: 'us', scale: 'log' },
        groups: names,
        bars: [...new Set(loads.map((one) => one.inFlight))].map((inFlight) => ({
          name: `${inFlight} in flight`,
          values: names.map((name) =>
            median(
              loads
                .filter((one) => one.rival === name && one.inFlight === inFlight)
                .flatMap(({ runs }) => runs.map(({ cpuUs }) => cpuUs)),
            ),
          ),
        })),
      } as const
      return {
        results: { loads, skipped },
        text: [rivalTable(loads), '', ...bestOf(loads), ...skipped].join('\n'),
        plots: [{ name: 'cpu', plot }],
      }
    }),
}

/** One server at a time: each has the machine to itself and the load. Rounds are interleaved. */
async function benchRivals(here: readonly Rival[], folder: string, options: Options): Promise<RivalResult[]> {
  const onnx = join(__dirname, '../../repository/workflows/mlp-64/1/model.onnx')
  const results = new Map<string, RivalResult & { runs: Run[] }>()
  const expected: number[] = []
  for (let round = 0; round < roundsOf(options); round++)
    for (const [i, one] of here.entries()) {
      const own = join(folder, `${i}-${round}`)
      mkdirSync(own)
      const server = await one.start({ onnx, folder: own })
      try {
        await compareScores(one, server, expected)
        const traffic = join(folder, `${i}-${round}.mrtf`)
        const messages = Array.from({ length: requests }, (_, r) => server.encode(featuresOf(r), r + 1))
        writeFileSync(
          traffic,
          encodeRecording({ beganMs: 0, requests: messages.map((message) => ({ arrivalUs: 0, message })) }),
        )
        for (const inFlight of options.smoke ? concurrencies.slice(0, 1) : concurrencies) {
          const run = await measure(server, loadOf(server, inFlight, traffic), timingOf(options))
          options.say(
            `${one.name}, ${inFlight} in flight, round ${round + 1}: ${figure(run.perSecond)}/s, ${figure(run.cpuUs)} us`,
          )
          const key = `${one.name} ${inFlight}`
          const known = results.get(key) ?? {
            ...{ rival: one.name, about: one.about, versions: server.versions, inFlight },
            runs: [],
          }
          known.runs.push(run)
          results.set(key, known)
        }
      } finally {
        await server.stop()
      }
    }
  return [...results.values()]
}

function isNamed({ name }: Rival, { only = '' }: Options): boolean {
  return name.toLowerCase().includes(only.toLowerCase())
}

function loadOf({ transport, post }: RivalServer, inFlight: number, traffic: string): Load {
  const spread = transport === 'websocket' ? { sockets: 4, inFlight: inFlight / 4 } : { sockets: inFlight, inFlight: 1 }
  return { transport, ...spread, traffic, post }
}

/** Throws where a rival answers something else than the first one did. */
async function compareScores({ name }: Rival, server: RivalServer, expected: number[]): Promise<void> {
  for (let i = 0; i < scoresCompared; i++) {
    const score = await server.score(featuresOf(i))
    const first = (expected[i] ??= score)
    if (!(Math.abs(score - first) <= tolerance))
      throw new Error(`${name} answers ${score} to request ${i}, not ${first}: it is not the same model`)
  }
}

function featuresOf(i: number): Float32Array {
  return Float32Array.from({ length: 64 }, (_, f) => Math.sin(i * 7 + f))
}

function rivalTable(results: readonly RivalResult[]): string {
  const head = [
    'server',
    'in flight',
    'requests/s',
    'server CPU us',
    ...ours.map(({ name }) => `x ${name}`),
    'p50 us',
    'p99 us',
    'refused',
    'errors',
    'generator',
  ]
  const rows = results.map((result) => {
    const { rival, inFlight, runs } = result
    const mid = (of: (run: Run) => number): number => median(runs.map(of))
    return [
      rival,
      inFlight,
      mid((run) => run.perSecond),
      mid((run) => run.cpuUs),
      ...ours.map(({ name }) => timesOf(result, results, name)),
      mid((run) => run.latencyUs.p50),
      mid((run) => run.latencyUs.p99),
      runs.reduce((sum, run) => sum + run.refused, 0),
      runs.reduce((sum, run) => sum + run.errors, 0),
      marked(runs),
    ]
  })
  return table([head, ...rows])
}

/** How many times the CPU of one of ours the rival takes that takes least. */
function bestOf(results: readonly RivalResult[]): string[] {
  return ours.flatMap(({ name, comparedAt }) => {
    const ranked = results
      .filter(({ rival, inFlight }) => inFlight === comparedAt && !ours.some((one) => one.name === rival))
      .map((result) => ({ rival: result.rival, times: timesOf(result, results, name) }))
      .filter(({ times }) => Number.isFinite(times))
      .sort((a, b) => a.times - b.times)
    const [best] = ranked
    return best === undefined
      ? []
      : [`${name}, ${comparedAt} in flight: the best rival, ${best.rival}, takes ${figure(best.times)} times the CPU`]
  })
}

/** CPU a request, over that of one of ours with as many in flight: the median of the rounds' own ratios. */
function timesOf({ inFlight, runs }: RivalResult, results: readonly RivalResult[], name: string): number {
  const other = results.find((one) => one.rival === name && one.inFlight === inFlight)
  return other === undefined ? NaN : median(runs.map(({ cpuUs }, i) => cpuUs / other.runs[i]!.cpuUs))
}
