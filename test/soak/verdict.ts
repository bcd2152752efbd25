import type { Loss } from '../support/load'

/** One second of a soak. */
export interface Sample {
  readonly second: number
  readonly rssBytes: number
  readonly descriptors: number
  readonly lanes: number
  /** Answers OK a second. */
  readonly rate: number
  readonly p99Ms: number
  readonly eventLoopMs: number
}

export interface Soaked {
  readonly sent: number
  readonly answered: Readonly<Record<string, number>>
  readonly wrong: readonly string[]
  readonly lost: readonly Loss[]
  /** Lanes that were killed: what they had may be lost. */
  readonly killed: readonly number[]
  readonly failures: readonly string[]
  /** By the client library. */
  readonly asked: number
  readonly publishes: number
}

/** How a figure went over the run. */
export interface Trend {
  readonly name: string
  readonly unit: string
  /** Medians of the second and of the last quarter: in the first everything is new. */
  readonly early: number
  readonly late: number
  /** A fit's, a hour, without the first quarter. */
  readonly slopePerHour: number
  /** How much more the late one may be; null where it is shown alone. */
  readonly more: number | null
}

export interface Verdict extends Omit<Soaked, 'lost'> {
  readonly lost: number
  readonly trends: readonly Trend[]
  readonly problems: readonly string[]
}

const mib = 2 ** 20
/** Codes of what was made to be refused, and of threads that were ended. */
const codesExpected = ['OK', 'UNAVAILABLE', 'FAILED_PRECONDITION']

/** Memory, descriptors and requests decide; a time alone never does. */
export function judge(samples: readonly Sample[], soaked: Soaked): Verdict {
  // A lane that is gone, or two for one in a restart, say nothing of what grows.
  const whole = samples.filter(({ lanes }) => lanes === 2)
  const trends = [
    trend(
      'memory',
      'MiB',
      whole,
      ({ rssBytes }) => rssBytes / mib,
      (early) => 48 + 0.1 * early,
    ),
    trend(
      'descriptors',
      '',
      whole,
      ({ descriptors }) => descriptors,
      () => 16,
    ),
    trend('rate', '/s', whole, ({ rate }) => rate, null),
    trend('p99', 'ms', whole, ({ p99Ms }) => p99Ms, null),
    trend('event-loop delay, p99', 'ms', whole, ({ eventLoopMs }) => eventLoopMs, null),
  ]
  const problems = [...soaked.failures, ...soaked.wrong.slice(0, 5)]
  if (whole.length < 8) problems.push(`${whole.length} seconds with both lanes are too few to say anything`)
  for (const { name, unit, early, late, more } of trends)
    if (more !== null && late - early > more)
      problems.push(
        `${name} grew from ${early.toFixed(0)} to ${late.toFixed(0)} ${unit}, by more than ${more.toFixed(0)}`,
      )
  const answered = Object.values(soaked.answered).reduce((sum, count) => sum + count, 0)
  const lost = soaked.lost.reduce((sum, { requests }) => sum + requests, 0)
  if (answered + lost !== soaked.sent)
    problems.push(`${soaked.sent} sent, ${answered} answered, ${lost} lost: some are neither`)
  for (const { lane, requests } of soaked.lost)
    if (lane === null ? soaked.killed.length === 0 : !soaked.killed.includes(lane))
      problems.push(`lane ${lane ?? '?'} lost ${requests} requests, and was not killed`)
  for (const code of Object.keys(soaked.answered))
    if (!codesExpected.includes(code)) problems.push(`${soaked.answered[code]} were answered ${code}`)
  return { ...soaked, lost, trends, problems }
}

function trend(
  name: string,
  unit: string,
  samples: readonly Sample[],
  value: (sample: Sample) => number,
  more: ((early: number) => number) | null,
): Trend {
  const quarter = Math.floor(samples.length / 4)
  const early = median(samples.slice(quarter, 2 * quarter).map(value))
  const late = median(samples.slice(3 * quarter).map(value))
  return {
    name,
    unit,
    early,
    late,
    slopePerHour: slopeOf(samples.slice(quarter), value) * 3600,
    more: more?.(early) ?? null,
  }
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0
}

/** Of the least squares, a second. */
function slopeOf(samples: readonly Sample[], value: (sample: Sample) => number): number {
  const mean = (of: (sample: Sample) => number): number =>
    samples.reduce((sum, one) => sum + of(one), 0) / samples.length
  const [x, y] = [mean(({ second }) => second), mean(value)]
  const [above, below] = [mean((one) => (one.second - x) * (value(one) - y)), mean(({ second }) => (second - x) ** 2)]
  return below === 0 ? 0 : above / below
}

export function verdictTable({ trends, sent, answered, lost, killed, asked, publishes, problems }: Verdict): string {
  const rows = trends.map(({ name, unit, early, late, slopePerHour, more }) => [
    name,
    `${early.toFixed(1)} ${unit}`,
    `${late.toFixed(1)} ${unit}`,
    slopePerHour.toFixed(1),
    more === null ? 'shown' : `+${more.toFixed(0)}`,
  ])
  const head = ['', '2nd quarter', 'last quarter', 'an hour', 'may']
  const codes = Object.entries(answered)
    .map(([code, count]) => `${count} ${code}`)
    .join(', ')
  return [
    ...[head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`),
    '',
    `${sent} sent: ${codes}, ${lost} lost with ${killed.length} lanes that were killed; ${asked} by the client; ${publishes} publishes`,
    problems.length === 0 ? 'it holds' : `it does not hold:\n  ${problems.join('\n  ')}`,
  ].join('\n')
}
