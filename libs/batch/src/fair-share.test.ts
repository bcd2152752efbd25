import { seededRandom } from '@millrace/base'
import fc from 'fast-check'
import { calmRows, mayHold, RunCost, Shares } from './index'

const seed = Number(process.env['TEST_SEED'] ?? 7)

describe('mayHold', () => {
  const amount = fc.integer({ min: 0, max: 10_000 })

  test('whoever is alone, holds nothing yet or no more than his part is never refused', () => {
    fc.assert(
      fc.property(
        amount,
        amount,
        amount,
        amount,
        fc.integer({ min: 1, max: 50 }),
        (rows, held, others, room, active) => {
          const may = mayHold(rows, held, held + others, room, active)
          if (active === 1 || held === 0 || (held + rows) * active <= room * 1.5) expect(may).toBe(true)
        },
      ),
      { seed },
    )
  })

  test('those who take all that they get leave room for each of those who come after', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 100, max: 10_000 }), (greedy, room) => {
        const held = new Array<number>(greedy).fill(0)
        const total = (): number => held.reduce((sum, one) => sum + one, 0)
        for (let round = 0; round < room; round++)
          for (let t = 0; t < greedy; t++) if (mayHold(1, held[t]!, total(), room, greedy + 1)) held[t]!++
        expect(total()).toBeLessThanOrEqual(
          Math.max((1.5 * room * greedy) / (greedy + 1), (room * greedy) / (greedy + 2)) + greedy,
        )
        expect(Math.max(...held) - Math.min(...held)).toBeLessThanOrEqual(1)
      }),
      { seed, numRuns: 50 },
    )
  })
})

test('what is taken is given back, whoever it was and however many there are', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(300), fc.integer({ min: 1, max: 99 })), { maxLength: 200 }), (calls) => {
      const shares = new Shares(1000)
      for (const [tenant, rows] of calls) {
        shares.ask(tenant, rows, 0)
        shares.take(tenant, rows)
      }
      expect(shares.total).toBe(calls.reduce((sum, [, rows]) => sum + rows, 0))
      for (const [tenant, rows] of calls) shares.give(tenant, rows)
      expect([shares.total, ...calls.map(([tenant]) => shares.of(tenant))]).toEqual([0, ...calls.map(() => 0)])
    }),
    { seed },
  )
})

test('who did not ask for two seconds has no part', () => {
  const shares = new Shares(10)
  shares.ask(1, 1, 1_000_000)
  shares.ask(2, 1, 1_999_999)
  shares.take(1, 9)
  expect([shares.active, shares.ask(1, 1, 2_999_999)]).toEqual([2, false])
  expect([shares.ask(1, 1, 4_000_000), shares.active]).toEqual([true, 1])
})

test('the cost of a run is found, of its rows and beside them', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 50_000 }), fc.integer({ min: 1, max: 1_000 }), (fixedUs, rowUs) => {
      const random = seededRandom(seed)
      const cost = new RunCost()
      for (let i = 0; i < 200; i++) {
        const rows = 1 + Math.floor(random() * 64)
        cost.observe(rows, fixedUs + rowUs * rows)
      }
      expect(cost.rowUs).toBeCloseTo(rowUs, 3)
      expect(cost.fixedUs).toBeCloseTo(fixedUs, 1)
      for (let i = 0; i < 400; i++) cost.observe(64, fixedUs + rowUs * 64)
      expect(cost.fixedUs + cost.rowUs * 64).toBeCloseTo(fixedUs + rowUs * 64, 1)
    }),
    { seed },
  )
})

test('there is room for what waits where a device is busy', () => {
  const room = (fixedUs: number, rowUs: number, requestRows = 1, waitUsMax = 20_000): number =>
    calmRows({ fixedUs, rowUs }, 1, 100, requestRows, waitUsMax)
  // Of a device whose rows cost nothing runs are full; of one whose runs cost nothing requests wait for each other.
  expect([room(100, 0), room(0, 50), room(0, 50, 8)]).toEqual([300 + 20, 20, 160])
  // Three runs however long they are; else no longer than is allowed.
  expect([room(50_000, 0), room(0, 5_000), room(0, 5_000, 8)]).toEqual([300, 4, 4])
  expect(room(0, 0)).toBe(Infinity)
  fc.assert(
    fc.property(
      fc.nat(50_000),
      fc.integer({ min: 1, max: 5_000 }),
      fc.integer({ min: 1, max: 50 }),
      (fixed, row, n) => {
        expect(calmRows({ fixedUs: fixed, rowUs: row }, 3, 100, n, 20_000)).toBeGreaterThan(2 * room(fixed, row, n))
        expect(room(fixed, row, n + 1)).toBeGreaterThanOrEqual(room(fixed, row, n))
        expect(room(fixed, row, n)).toBeLessThanOrEqual(1 + Math.max(20_000, 3 * fixed) / (fixed / 100 + row))
      },
    ),
    { seed },
  )
})

/** A thread that runs batches: so much whatever its rows, so much for each, as many rows at most. */
interface Device {
  readonly fixedUs: number
  readonly rowUs: number
  readonly rowsMax: number
}
/**
 * Ten tenants ask a thread that has two batches at once, together for nine tenths of what it can; the first, after a
 * while, for `times` as much as each other.
 *
 * @returns of the nine others: 99th percentile of the time to an answer, us, and the part of the requests that got one
 */
function simulate(
  { fixedUs, rowUs, rowsMax }: Device,
  times: number,
  fair: boolean,
): { p99: number; answered: number } {
  const random = seededRandom(seed)
  const tenants = 10
  const perUs = rowsMax / (fixedUs + rowUs * rowsMax)
  const warmUs = 4_000 / perUs
  const endUs = 60_000 / perUs
  let nowUs = 0
  const after = (t: number): number =>
    -Math.log(1 - random()) / (((0.9 * perUs) / tenants) * (t === 0 && nowUs > warmUs ? times : 1))
  const next = Array.from({ length: tenants }, (_, t) => after(t))
  const queue: { readonly tenant: number; readonly atUs: number }[] = []
  const shares = new Shares(65_536)
  const cost = new RunCost()
  const running: { readonly endUs: number; readonly runUs: number; readonly batch: typeof queue }[] = []
  const times99: number[] = []
  let asked = 0
  while (nowUs < endUs) {
    const t = next.indexOf(Math.min(...next))
    if (running.length === 0 || next[t]! < running[0]!.endUs) {
      nowUs = next[t]!
      next[t]! += after(t)
      if (t > 0 && nowUs > warmUs) asked++
      if (fair && !shares.ask(t, 1, nowUs)) continue
      shares.take(t, 1)
      queue.push({ tenant: t, atUs: nowUs })
    } else {
      const { batch, runUs, endUs } = running.shift()!
      nowUs = endUs
      for (const { tenant, atUs } of batch) {
        shares.give(tenant, 1)
        if (tenant > 0 && atUs > warmUs) times99.push(nowUs - atUs)
      }
      cost.observe(batch.length, runUs)
      shares.room = calmRows(cost, 1, rowsMax, 1, 20_000)
    }
    while (running.length < 2 && queue.length > 0) {
      const batch = queue.splice(0, rowsMax)
      const runUs = fixedUs + rowUs * batch.length
      const beginUs = Math.max(nowUs, running.at(-1)?.endUs ?? 0)
      running.push({ endUs: beginUs + runUs, runUs, batch })
    }
  }
  times99.sort((a, b) => a - b)
  return { p99: times99[Math.floor(times99.length * 0.99)]!, answered: times99.length / asked }
}

test.each<[string, Device, { readonly p99: number; readonly answered: number }]>([
  ['launch-bound, 5 ms a batch', { fixedUs: 5_000, rowUs: 0, rowsMax: 16 }, { p99: 1.2, answered: 0.96 }],
  ['a GPU, 50 ms a batch', { fixedUs: 50_000, rowUs: 10, rowsMax: 256 }, { p99: 1.2, answered: 0.97 }],
  ['a GPU that is filled, 100 us a batch', { fixedUs: 100, rowUs: 1, rowsMax: 1024 }, { p99: 1.2, answered: 0.95 }],
  ['50 us a row', { fixedUs: 200, rowUs: 50, rowsMax: 512 }, { p99: 1.2, answered: 0.97 }],
  ['6 us a row', { fixedUs: 20, rowUs: 6, rowsMax: 4096 }, { p99: 1.2, answered: 0.97 }],
  // There is room for twenty rows, so parts are of two: who comes at random wants three now and then.
  ['a millisecond a row', { fixedUs: 20, rowUs: 1_000, rowsMax: 512 }, { p99: 1.35, answered: 0.88 }],
])('one tenant at ten times its share, on %s', (name, device, least) => {
  const before = simulate(device, 1, true)
  const fair = simulate(device, 10, true)
  const unfair = simulate(device, 10, false)
  const told = JSON.stringify({ name, seed, before, fair, unfair })
  const kept = fair.p99 < least.p99 * before.p99 && fair.answered > least.answered
  expect({ told, kept }).toEqual({ told, kept: true })
  // What it is for.
  expect(unfair.p99).toBeGreaterThan(5 * fair.p99)
  expect(unfair.answered).toBeLessThan(0.7)
})
