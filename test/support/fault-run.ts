import { setTimeout as delay } from 'node:timers/promises'
import { Load, type LoadOptions } from './load'
import { figuresOf, isRunning, type Figures } from './process-figures'
import type { ServedProcess } from './served-process'
import { until } from './served'

/** What happens to a server while it has all that it can do. */
export interface Fault {
  /** What happens, for the table. */
  readonly name: string
  /** Resolves with the lanes that it ended, of those that ran before it: only they may lose requests. */
  inject(run: Run): Promise<readonly number[] | void>
  /** Lanes that it ends are told before, and lose nothing. */
  readonly drains?: boolean
  /** What was taken away is back. */
  heal?(run: Run): Promise<unknown>
  /** Codes that requests are answered with, besides OK. */
  readonly codes?: readonly string[]
}

export interface Run {
  /** Another one, where the fault was the end of it. */
  served: ServedProcess
  /** The lanes before the fault. */
  readonly lanes: readonly number[]
}

/** What a fault cost. */
export interface Cost {
  readonly fault: string
  readonly sent: number
  /** By code. */
  readonly answered: Readonly<Record<string, number>>
  /** With the lanes that ended; none with those that went on. */
  readonly lost: number
  /** Until the server is ready, and as fast as before but for a fifth; null where it was not within ten seconds of that. */
  readonly recoveryMs: number | null
  readonly before: Figures
  readonly after: Figures
}

/** Before a fault, while it lasts, after it; ms. */
const phases = { warm: 700, last: 300, after: 300 }
const fastMsMax = 10_000
const fast = 0.8
/** Descriptors and memory that a server may have more than before: what was never needed before it was. */
const slack = { descriptors: 12, rssBytes: 96 * 2 ** 20 }

/**
 * Loads a server, does to it what the fault says, and counts. Throws when a request is lost that a lane had that went on,
 * when an answer is wrong, when an answer's code is none that the fault may cause, when the server does not come back, or
 * keeps memory or descriptors.
 */
export async function underLoad(served: ServedProcess, fault: Fault, next: LoadOptions['next']): Promise<Cost> {
  const run: Run = { served, lanes: served.lanes() }
  const load = new Load({ port: served.port, sockets: 8, inFlight: 4, next, lanes: () => run.served.lanes() })
  try {
    return await measured(run, fault, load)
  } finally {
    // Where it failed, what it still waits for is nobody's.
    void load.stop()
  }
}

async function measured(run: Run, fault: Fault, load: Load): Promise<Cost> {
  const { served, lanes } = run
  await delay(phases.warm)
  await until('the load is answered', () => Promise.resolve(load.rate(3) > 0 || 'nothing is'))
  const before = figuresOf([served.pid, ...lanes])
  const rate = load.rate(6)
  const begun = performance.now()
  const ended = (await fault.inject(run)) ?? []
  if (fault.heal !== undefined) {
    await delay(phases.last)
    await fault.heal(run)
  }
  await until('it is ready again', async () => {
    const { status, body } = await run.served.admin('/v2/health/ready')
    return status === 200 || body.toString('utf8')
  })
  const recoveryMs = await fastAgain(load, fast * rate, begun)
  await delay(phases.after)
  await load.stop()
  let after = before
  await until('descriptors and memory are back', () => {
    after = figuresOf([run.served.pid, ...run.served.lanes()])
    const descriptors = after.descriptors - before.descriptors
    const rssBytes = after.rssBytes - before.rssBytes
    return Promise.resolve(
      (descriptors <= slack.descriptors && rssBytes <= slack.rssBytes) || JSON.stringify({ descriptors, rssBytes }),
    )
  })
  const { sent, answered, lost } = load
  judge(fault, run, load, ended)
  return { fault: fault.name, sent, answered, lost, recoveryMs, before, after }
}

function judge({ codes = [], drains }: Fault, { lanes }: Run, load: Load, ended: readonly number[]): void {
  const answered = Object.values(load.answered).reduce((sum, count) => sum + count, 0)
  const problems = [...load.wrong.slice(0, 3)]
  if (answered + load.lost !== load.sent)
    problems.push(`${load.sent} sent, ${answered} answered, ${load.lost} lost: some are neither`)
  for (const { lane, requests } of load.losses)
    if (drains === true || (lane === null ? ended.length === 0 : !ended.includes(lane)))
      problems.push(`lane ${lane ?? '?'} lost ${requests} requests, and was not to`)
  const odd = Object.keys(load.answered).filter((code) => code !== 'OK' && !codes.includes(code))
  if (odd.length > 0) problems.push(`answered ${odd.join(', ')}`)
  for (const lane of lanes)
    if (!ended.includes(lane) && !isRunning(lane)) problems.push(`lane ${lane} ended, and was not to`)
  if (problems.length > 0) throw new Error(problems.join('; '))
}

/** Never decides anything: a machine that others use is slow for reasons of its own. */
async function fastAgain(load: Load, rate: number, begunMs: number): Promise<number | null> {
  const end = performance.now() + fastMsMax
  do await delay(100)
  while (load.rate(5) < rate && performance.now() < end)
  return load.rate(5) < rate ? null : load.slowMs(begunMs, rate)
}

/** The costs as rows of Markdown. */
export function costTable(costs: readonly Cost[]): string {
  const rows = costs.map(({ fault, sent, answered, lost, recoveryMs, before, after }) => {
    const refused = Object.entries(answered).filter(([code]) => code !== 'OK')
    const mib = (bytes: number): string => String(Math.round(bytes / 2 ** 20))
    return [
      fault,
      sent.toLocaleString('en'),
      refused.map(([code, count]) => `${count} ${code}`).join(', ') || '-',
      String(lost),
      recoveryMs === null ? 'over 10 s' : recoveryMs === 0 ? '-' : `${(recoveryMs / 1000).toFixed(1)} s`,
      `${mib(before.rssBytes)} / ${mib(after.rssBytes)}`,
      `${before.descriptors} / ${after.descriptors}`,
    ]
  })
  const head = ['fault', 'sent', 'refused', 'lost', 'full speed after', 'RSS before / after, MiB', 'descriptors']
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}
