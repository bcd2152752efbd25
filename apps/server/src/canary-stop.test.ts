import { Buckets, seededRandom } from '@millrace/base'
import { judge, StopWatch, type Answered, type Differed, type StopLimits } from './canary-stop'
import { ratioBoundsUs } from './mapping'

const seed = Number(process.env['TEST_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const none: Answered = { answers: 0, failed: 0, refused: 0, latency: null }

function limits(some: Partial<StopLimits>): StopLimits {
  return { requests_min: 1, window_s: 60, ...some }
}

test.each<[string, Partial<StopLimits>, Partial<Answered>, RegExp | null]>([
  ['at the limit', { error_rate_max: 0.1 }, { answers: 100, failed: 10 }, null],
  ['over it', { error_rate_max: 0.1 }, { answers: 100, failed: 11 }, /^11 of 100 answers failed in 60 s, 0.11 .* 0.1$/],
  ['with none allowed', { error_rate_max: 0 }, { answers: 100, failed: 1 }, /error_rate_max 0$/],
  ['with too few answers', { error_rate_max: 0, requests_min: 101 }, { answers: 100, failed: 100 }, null],
  ['refusals', { error_rate_max: 0, refusal_rate_max: 0.5 }, { answers: 9, refused: 5 }, /were refused.*refusal_rate/],
  ['refusals that nobody limits', { error_rate_max: 0 }, { answers: 100, refused: 100 }, null],
  ['times that nobody has', { p99_ratio_max: 1 }, { answers: 100 }, null],
])('%s', (_, some, answered, why) => {
  const verdict = judge(limits(some), { ...none, ...answered }, { ...none, answers: 1000 })
  if (why === null) expect(verdict).toBeNull()
  else expect(verdict?.why).toMatch(why)
})

test('what was counted before it was looked at is no reason', () => {
  const watch = new StopWatch(limits({ error_rate_max: 0.5 }))
  const before = { ...none, answers: 1000, failed: 1000 }
  expect(watch.observe(0, before, none)).toBeNull()
  expect(watch.observe(1000, { ...before, answers: 1100 }, none)).toBeNull()
  expect(watch.observe(2000, { ...before, answers: 1300, failed: 1160 }, none)).toMatchObject({ figure: 160 / 300 })
})

test('counts that are missing for a moment are none', () => {
  const watch = new StopWatch(limits({ error_rate_max: 0.5 }))
  const whole = { ...none, answers: 1000, failed: 900 }
  for (const [ms, answered] of [whole, none, whole, { ...whole, answers: 1001 }].entries())
    expect(watch.observe(ms, answered, none)).toBeNull()
})

test(`a sliding window: random streams against every window that may be meant (seed ${seed})`, () => {
  const random = seededRandom(seed)
  const whole = (from: number, to: number): number => from + Math.floor(random() * (to - from + 1))
  let verdicts = 0
  for (let run = 0; run < 300; run++) {
    const stop = limits({ error_rate_max: random() / 2, window_s: whole(1, 120), requests_min: whole(1, 400) })
    const watch = new StopWatch(stop)
    const seen: { ms: number; canary: Answered }[] = []
    let ms = 0
    let canary = none
    let rate = random()
    for (let i = 0; i < 300; i++) {
      const stepMs = whole(1, 3000)
      ms += stepMs
      if (random() < 0.05) rate = random() ** 2
      const answers = whole(0, 30)
      const failed = Array.from({ length: answers }).filter(() => random() < rate).length
      canary = { ...canary, answers: canary.answers + answers, failed: canary.failed + failed }
      seen.push({ ms, canary })
      const verdict = watch.observe(ms, canary, none)
      // The window begins with what was known then; it may be a sixtieth longer, and a look.
      const windowMs = stop.window_s * 1000
      const known = seen.findLastIndex((one) => one.ms <= ms - windowMs)
      const oldest = Math.max(
        0,
        seen.findLastIndex((one) => one.ms <= ms - (windowMs * 61) / 60 - 3000),
      )
      const passed = seen
        .slice(oldest, Math.max(known, 0) + 1)
        .map((from) => ({ answers: canary.answers - from.canary.answers, failed: canary.failed - from.canary.failed }))
        .map((sum) => sum.answers >= stop.requests_min && sum.failed / sum.answers > stop.error_rate_max!)
      if (verdict === null ? passed.every((one) => one) : !passed.includes(true))
        throw new Error(`seed ${seed}, run ${run}, look ${i}: ${JSON.stringify({ stop, verdict, passed })}`)
      if (verdict !== null) verdicts++
    }
  }
  expect(verdicts).toBeGreaterThan(1000)
})

test(`99th percentiles against exact ones (seed ${seed})`, () => {
  const random = seededRandom(seed)
  const times = (median: number, spread: number): number[] =>
    Array.from({ length: 2000 }, () => median * Math.exp(spread * (random() + random() + random() - 1.5)))
  const seen = { yes: 0, no: 0 }
  for (let run = 0; run < 120; run++) {
    const [canary, other] = [times(100 + random() * 1e5, random() * 2), times(100 + random() * 1e5, random() * 2)]
    const exact = (all: number[]): number => [...all].sort((a, b) => a - b)[Math.floor(0.99 * all.length)]!
    const ratio = exact(canary) / exact(other)
    const answered = (all: number[]): Answered => {
      const buckets = new Buckets(ratioBoundsUs)
      for (const one of all) buckets.observe(one)
      return { ...none, answers: all.length, latency: { ...buckets, counts: [...buckets.counts] } }
    }
    const say = (max: number) => judge(limits({ p99_ratio_max: max }), answered(canary), answered(other))
    if (say(ratio * 1.24) !== null || say(ratio / 1.24) === null) throw new Error(`seed ${seed}, run ${run}: ${ratio}`)
    if (say(1.5) === null) seen.no++
    else seen.yes++
  }
  expect(Math.min(seen.yes, seen.no)).toBeGreaterThan(5)
})

test('a default that hardly answers is nothing to be slower than', () => {
  const buckets = new Buckets(ratioBoundsUs)
  buckets.observe(1e6, 200)
  const slow = { ...none, answers: 200, latency: { ...buckets, counts: [...buckets.counts] } }
  const quick = new Buckets(ratioBoundsUs)
  quick.observe(1e3, 99)
  const other = { ...none, answers: 99, latency: { ...quick, counts: [...quick.counts] } }
  const stop = limits({ p99_ratio_max: 2, requests_min: 100 })
  expect(judge(stop, slow, other)).toBeNull()
  expect(judge(stop, slow, { ...other, answers: 100 })?.why).toMatch(/^its p99 of .* ms is .* times the .* ms of the/)
})

function differed(some: Partial<Differed['outputs'][string]>, requests = 100): Differed {
  return { shadow: 'back', requests, outputs: { x: nothing, y: { ...nothing, values: 400, ...some } } }
}
const nothing = { values: 0, beyond: 0, infinite: 0, sum: 0 }

test.each<[string, Partial<StopLimits>, Differed, RegExp | null]>([
  ['a mean at the limit', { difference_max: 0.5 }, differed({ sum: 200 }), null],
  [
    'a mean over it',
    { difference_max: 0.5 },
    differed({ sum: 220 }),
    /^values of y differ from those of the default by 0.55 on average in 100 requests of 60 s that shadow back compared: .* 0.5$/,
  ],
  ['none allowed', { difference_max: 0 }, differed({ sum: 1e-9 }), /more than difference_max 0$/],
  ['none there', { difference_max: 0, difference_rate_max: 0 }, differed({}), null],
  ['no number on one side', { difference_max: 9 }, differed({ infinite: 1, beyond: 1 }), /^1 of 400 values of y are a/],
  ['a share at the limit', { difference_rate_max: 0.25 }, differed({ beyond: 100, sum: 1e9 }), null],
  ['a share over it', { difference_rate_max: 0.25 }, differed({ beyond: 101 }), /^101 of 400 values .*_rate_max 0.25$/],
  ['too few requests', { difference_max: 0, requests_min: 101 }, differed({ sum: 400 }), null],
  ['as many as there must be', { difference_max: 0, requests_min: 101 }, differed({ sum: 400 }, 101), /difference_max/],
  ['differences that nobody limits', { error_rate_max: 0 }, differed({ sum: 400, beyond: 400, infinite: 9 }), null],
])('differences: %s', (_, some, one, why) => {
  const verdict = judge(limits(some), none, none, [{ ...one, outputs: {} }, one])
  if (why === null) expect(verdict).toBeNull()
  else expect(verdict?.why).toMatch(why)
})

test('what differed before it was looked at, and before the window, is no reason', () => {
  const watch = new StopWatch(limits({ difference_max: 0.5, requests_min: 10, window_s: 10 }))
  const observe = (ms: number, requests: number, sum: number): number | undefined =>
    watch.observe(ms, none, none, [differed({ values: 4 * requests, sum }, requests)])?.figure
  expect(observe(0, 1000, 1e6)).toBeUndefined()
  expect(observe(1_000, 1009, 1e6 + 36)).toBeUndefined()
  expect(observe(2_000, 1010, 1e6 + 40)).toBe(1)
  // Nothing differs from here on.
  expect(observe(9_000, 1020, 1e6 + 40)).toBeUndefined()
  expect(observe(13_000, 1030, 1e6 + 40)).toBeUndefined()
  // A shadow that comes later has no before.
  const late = { ...differed({ sum: 400 }), shadow: 'late' }
  expect(watch.observe(14_000, none, none, [late])?.why).toContain('shadow late')
})
