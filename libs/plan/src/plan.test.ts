import * as fc from 'fast-check'
import { sustained, type MachineCurve, type OperatingPoint } from './machine-curve'
import { machinesFor, plan, survivors } from './plan'
import { checkProfile, checkQuestion, PlanError, type PlanInput } from './plan-file'
import { measuredService } from './service'

const point = (rows: number, mean_us: number, spread = 1.2) => ({
  ...{ rows, batches: 1000, mean_us, min_us: mean_us / spread, p50_us: mean_us },
  ...{ p90_us: mean_us * spread, p99_us: mean_us * spread ** 2, p999_us: mean_us * spread ** 4 },
})
const profile = checkProfile(
  {
    millrace_profile: 1,
    machine: { cpu: 'made up', cores: 4, memory_gib: 8 },
    ...{ date: '2026-11-24', command: 'by hand', commit: 'none', versions: { node: 'v20' } },
    front: { read_us: { websocket: 4, http: 0 }, batch_us: 20 },
    worker: { batch_us: 8 },
    wake_us: 15,
    objectives: {
      price: {
        front: { websocket: { request_us: 1 }, http: { request_us: 9 } },
        batch_rows_max: 256,
        engines: {
          onnxruntime: { device: 'cpu', service: [point(1, 10), point(256, 100)] },
          tfjs: { device: 'cpu', service: [point(1, 50), point(256, 400)] },
        },
      },
      ranking: {
        rows: 50,
        front: { websocket: { request_us: 2, row_us: 0.1 } },
        engines: { tfjs: { device: 'cpu', service: [point(1, 40), point(100, 200), point(500, 900)] } },
      },
    },
  },
  'profile',
)
const question: PlanInput = {
  requests_per_s: 4_000_000,
  latency: { p99_ms: 2 },
  mix: [{ objective: 'price' }],
  machines: [{ name: 'c2', cores: 2, price_per_hour: 0.1 }],
}
const asked = (changes: Partial<PlanInput> = {}) => plan(checkQuestion({ ...question, ...changes }, 'plan'), profile)

describe('measured curves', () => {
  test('have the mean that was measured, and its percentiles in order', () => {
    const service = measuredService([point(1, 10, 1.5), point(101, 110, 1.5)], 200)
    for (const [rows, mean] of [
      [1, 10],
      [51, 60],
      [101, 110],
      [201, 209],
    ] as const) {
      const n = 100_000
      let sum = 0
      for (let i = 0; i < n; i++) sum += service.sample(rows, (i + 0.5) / n)
      expect(sum / n / mean).toBeCloseTo(1, 2)
      expect(service.sample(rows, 0.2)).toBeLessThan(service.sample(rows, 0.95))
    }
  })
})

describe('a plan', () => {
  const first = asked()

  test('takes as many machines as the latency allows, and says what each does', () => {
    const { chosen, whatIfs } = first
    expect(chosen!.machine).toBe('c2')
    expect(chosen!.machines! * chosen!.sustainedPerS).toBeGreaterThanOrEqual(4_000_000)
    expect((chosen!.machines! - 1) * chosen!.sustainedPerS).toBeLessThan(4_000_000)
    expect(chosen!.usual!.p99Ms).toBeLessThanOrEqual(2)
    expect(chosen!.usual!.p50Ms).toBeGreaterThan(0.01)
    expect(chosen!.environment).toEqual({ MILLRACE_LANES: '1', MILLRACE_POOL_CPU_THREADS: '1' })
    expect(chosen!.pricePerMillion).toBeCloseTo(((chosen!.machines! * 0.1) / 3600 / 4_000_000) * 1e6, 9)
    expect(whatIfs.map(({ what }) => what)).toEqual(['as asked', 'latencies halve', 'traffic doubles', 'rows double'])
  })

  test('more traffic, a stricter latency and head-room never need fewer', () => {
    const machines = (changes: Partial<PlanInput>): number => asked(changes).chosen!.machines!
    const all = first.chosen!.machines!
    expect(machines({ requests_per_s: 20_000_000 })).toBeGreaterThanOrEqual(4 * all)
    expect(machines({ growth_percent: 50 })).toBeGreaterThan(all)
    expect(machines({ latency: { p99_ms: 0.3 } })).toBeGreaterThan(all)
    expect(machines({ headroom: { zones: 3, lose_zones: 1 } })).toBeGreaterThanOrEqual(Math.ceil(1.5 * all) - 1)
    expect(machines({ headroom: { capacity_percent_max: 40 } })).toBeGreaterThan(all)
    expect(machines({ mix: [{ objective: 'price', transport: 'http' }] })).toBeGreaterThan(all)
    expect(machines({ mix: [{ objective: 'price', rows: 20 }] })).toBeGreaterThan(all)
    expect(machines({ machines: [{ name: 'slow', cores: 2, speed: 0.5, price_per_hour: 0.1 }] })).toBeGreaterThan(all)
  })

  test('the cheapest type is chosen, and one that cannot says why', () => {
    const { chosen, fleets } = asked({
      latency: { p99_ms: 1 },
      machines: [
        { name: 'dear', cores: 2, price_per_hour: 5 },
        { name: 'few', cores: 2, price_per_hour: 0.01, machines_max: 1 },
        { name: 'slow', cores: 2, price_per_hour: 0.01, speed: 0.01 },
        { name: 'cheap', cores: 2, price_per_hour: 0.1 },
      ],
    })
    expect(chosen!.machine).toBe('cheap')
    expect(fleets.map(({ machine }) => machine).slice(0, 2)).toEqual(['cheap', 'dear'])
    const reasons = Object.fromEntries(fleets.map(({ machine, reason }) => [machine, reason]))
    expect(reasons['few']).toMatch(/^\d+ are needed, machines_max is 1$/)
    expect(reasons['slow']).toMatch(/^an idle machine answers in .* ms \(p50\) and .* ms \(p99\)/)
  })

  test('engines: the fastest on the device of the machine, or the one that is named', () => {
    const tfjs = asked({ mix: [{ objective: 'price', engine: 'tfjs' }] }).chosen!
    expect(tfjs.capacityPerS).toBeLessThan(first.chosen!.capacityPerS)
  })
})

describe('what cannot be answered', () => {
  const problems = (input: unknown): string => {
    try {
      plan(checkQuestion(input, 'plan.yaml'), profile)
    } catch (error) {
      if (error instanceof PlanError) return error.message
      throw error
    }
    return 'nothing is wrong'
  }
  test.each([
    [{ ...question, requests_per_s: -1 }, /requests_per_s: .*>0/],
    [{ ...question, latency: {} }, /latency: asks nothing; give p50_ms or p99_ms/],
    [{ ...question, mix: [] }, /mix: /],
    [{ ...question, frob: 1 }, /frob/],
    [
      { ...question, mix: [{ objective: 'prise' }] },
      /mix\[0\].objective: prise was not measured; the profile has price/,
    ],
    [
      { ...question, mix: [{ objective: 'ranking', transport: 'http' }] },
      /mix\[0\].transport: http was not measured for ranking; the profile has websocket/,
    ],
    [
      { ...question, mix: [{ objective: 'price', engine: 'tensorflow' }] },
      /mix\[0\].engine: tensorflow on CPUs, .* was not measured for price; the profile has onnxruntime on cpu, tfjs on cpu/,
    ],
    [
      { ...question, machines: [{ name: 'g', cores: 8, gpus: 1, price_per_hour: 1 }] },
      /mix\[0\].engine: an engine on a GPU, which g has, was not measured/,
    ],
    [
      { ...question, headroom: { zones: 2, lose_zones: 2 } },
      /headroom.lose_zones: leaves no zone; give less than zones/,
    ],
    [
      { ...question, machines: [question.machines[0], question.machines[0]] },
      /machines: has a name twice; give each its own/,
    ],
  ])('%j', (input, message) => expect(problems(input)).toMatch(message))

  test('a profile that is none', () => {
    const [first, ...rest] = profile.objectives['price']!.engines['tfjs']!.service
    const objectives = {
      price: { ...profile.objectives['price'], engines: { tfjs: { device: 'cpu', service: [...rest, first] } } },
    }
    expect(() => checkProfile({ ...profile, objectives }, 'p.json')).toThrow(
      /p.json is no profile .*\n {2}objectives.price.engines.tfjs.service: is not in the order of rows, each once/,
    )
  })
})

describe('sizes', () => {
  const curve = fc
    .array(fc.tuple(fc.double({ min: 0.1, max: 50, noNaN: true }), fc.double({ min: 0, max: 20, noNaN: true })), {
      ...{ minLength: 2, maxLength: 12 },
    })
    .map((steps): MachineCurve => {
      let [p50Ms, p99Ms, requestsPerS] = [0, 0, 0]
      const points = steps.map(([rate, ms]): OperatingPoint => {
        requestsPerS += rate
        p50Ms += ms / 3
        p99Ms += ms
        return { requestsPerS, p50Ms, p99Ms, front: 0, pool: 0, batchRows: 1 }
      })
      return { points, capacityPerS: requestsPerS / 0.95 } as unknown as MachineCurve
    })
  const headroom = fc
    .record({
      zones: fc.integer({ min: 1, max: 9 }),
      lose: fc.integer({ min: 0, max: 8 }),
      one: fc.integer({ min: 2, max: 50 }),
    })
    .map(({ zones, lose, one }) => ({
      zones,
      lose_zones: Math.min(lose, zones - 1),
      lose_one_machine_in: one,
      capacity_percent_max: 80,
    }))

  test('a stricter latency never sustains more', () =>
    fc.assert(
      fc.property(
        curve,
        fc.double({ min: 0.1, max: 100, noNaN: true }),
        fc.double({ min: 0.1, max: 1, noNaN: true }),
        (one, p99, part) => {
          expect(sustained(one, { p99_ms: p99 * part }, 95)).toBeLessThanOrEqual(sustained(one, { p99_ms: p99 }, 95))
          expect(sustained(one, { p99_ms: p99, p50_ms: p99 * part }, 95)).toBeLessThanOrEqual(
            sustained(one, { p99_ms: p99 }, 95),
          )
        },
      ),
      { seed: 20_261_124 },
    ))

  test('the survivors carry the traffic, and one machine less would not; more traffic and more losses never need fewer', () =>
    fc.assert(
      fc.property(
        headroom,
        fc.integer({ min: 1, max: 100_000 }),
        fc.integer({ min: 10, max: 1000 }),
        (room, traffic, each) => {
          const machines = machinesFor(traffic, each, room)
          expect(survivors(machines, room) * each).toBeGreaterThanOrEqual(traffic)
          if (machines > 1) expect(survivors(machines - 1, room) * each).toBeLessThan(traffic)
          expect(machinesFor(traffic + 1000, each, room)).toBeGreaterThanOrEqual(machines)
          expect(machinesFor(traffic, each, { ...room, lose_zones: 0 })).toBeLessThanOrEqual(machines)
          expect(machinesFor(traffic, each, { ...room, lose_one_machine_in: undefined })).toBeLessThanOrEqual(machines)
        },
      ),
      { seed: 20_261_124 },
    ))
})
