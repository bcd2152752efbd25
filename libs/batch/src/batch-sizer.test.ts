import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { BatchSizer } from './batch-sizer'

/*
 * Devices as curves: microseconds that a run of so many rows takes. Under load every batch is full, and the device is
 * never idle.
 */

type Curve = (rows: number) => number

const overheadUs = 50
const rowsMax = 4096
const plenty = 10e6

function simulate(
  sizer: BatchSizer,
  curve: Curve,
  batches: number,
  { budgetUs = plenty, noise = (): number => 1, from = 0 } = {},
): { readonly nowUs: number; readonly late: number } {
  let nowUs = from
  let late = 0
  for (let i = 0; i < batches; i++) {
    const { rows } = sizer
    const runUs = curve(rows) * noise()
    if (runUs > budgetUs / 4) late++
    nowUs += runUs
    sizer.observe(rows, runUs, budgetUs, nowUs)
  }
  return { nowUs, late }
}

const rateOf = (curve: Curve, rows: number): number => rows / (curve(rows) + overheadUs)
const sizes = Array.from({ length: 13 }, (_, i) => 2 ** i)
const bestRate = (curve: Curve, allowed = sizes): number => Math.max(...allowed.map((rows) => rateOf(curve, rows)))

/** A launch, then rows, and past a knee dearer rows. */
const curves = fc
  .record({
    fixedUs: fc.integer({ min: 0, max: 50_000 }),
    rowUs: fc.double({ min: 0.01, max: 100, noNaN: true }),
    knee: fc.integer({ min: 1, max: rowsMax }),
    dearer: fc.double({ min: 1, max: 5, noNaN: true }),
  })
  .map(
    ({ fixedUs, rowUs, knee, dearer }): Curve =>
      (rows) =>
        fixedUs + rowUs * Math.min(rows, knee) + rowUs * dearer * Math.max(0, rows - knee),
  )

test('finds a size of which three quarters of the best rate come, and stays near it', () => {
  fc.assert(
    fc.property(curves, (curve) => {
      const sizer = new BatchSizer(rowsMax)
      simulate(sizer, curve, 3000)
      // Not in the middle of a trial of a neighbour.
      const seen = new Set<number>()
      for (let i = 0; i < 200; i++) {
        seen.add(sizer.rows)
        simulate(sizer, curve, 1)
      }
      const best = Math.max(...[...seen].map((rows) => rateOf(curve, rows)))
      expect(best).toBeGreaterThanOrEqual(0.75 * bestRate(curve))
    }),
  )
})

test('launch-bound: as many rows as there may be', () => {
  const sizer = new BatchSizer(rowsMax)
  simulate(sizer, (rows) => 5000 + 0.01 * rows, 100)
  expect(sizer.rows).toBe(rowsMax)
})

test('linear: no more rows than it began with, since they bring nothing but latency', () => {
  const sizer = new BatchSizer(rowsMax)
  simulate(sizer, (rows) => 100 * rows, 200)
  expect(sizer.rows).toBe(32)
})

test('a knee: there, not beyond', () => {
  const sizer = new BatchSizer(rowsMax)
  simulate(sizer, (rows) => 2000 + rows + 20 * Math.max(0, rows - 512), 200)
  expect([256, 512]).toContain(sizer.rows)
})

test('a size that is no power of two is the most, where it is', () => {
  const sizer = new BatchSizer(300)
  simulate(sizer, () => 5000, 100)
  expect(sizer.rows).toBe(300)
  expect(new BatchSizer(5).rows).toBe(5)
})

test('noise of a third in either direction costs little', () => {
  fc.assert(
    fc.property(curves, fc.integer({ min: 1, max: 2 ** 31 - 2 }), (curve, seed) => {
      const sizer = new BatchSizer(rowsMax)
      let state = seed
      // Lehmer's generator.
      const noise = (): number => 0.67 + (0.83 * (state = (state * 48271) % (2 ** 31 - 1))) / 2 ** 31
      simulate(sizer, curve, 1500, { noise })
      let rows = 0
      let us = 0
      for (let i = 0; i < 1500; i++) {
        rows += sizer.rows
        us += curve(sizer.rows) + overheadUs
        simulate(sizer, curve, 1, { noise })
      }
      expect(rows / us).toBeGreaterThan(0.5 * bestRate(curve))
    }),
    { numRuns: 50 },
  )
})

test('a run takes no more than a quarter of the time that requests give, where fewer rows can help that', () => {
  fc.assert(
    fc.property(curves, fc.integer({ min: 1000, max: 1_000_000 }), (curve, budgetUs) => {
      const sizer = new BatchSizer(rowsMax)
      simulate(sizer, curve, 600, { budgetUs })
      const { late } = simulate(sizer, curve, 400, { budgetUs })
      const able = sizes.filter((rows) => curve(rows) <= budgetUs / 4)
      // Trials of twice the rows past a knee, and the way down, are all that may be late.
      if (able.length > 0 && curve(1) < 0.5 * (budgetUs / 4)) expect(late).toBeLessThanOrEqual(12)
    }),
  )
})

test('runs that take too long however few the rows do not shrink to nothing', () => {
  const sizer = new BatchSizer(rowsMax)
  simulate(sizer, () => 20_000, 100, { budgetUs: 40_000 })
  expect(sizer.rows).toBeGreaterThanOrEqual(32)
})

test('follows a device that changes', () => {
  const sizer = new BatchSizer(rowsMax)
  const launch: Curve = (rows) => 5000 + 0.1 * rows
  const linear: Curve = (rows) => 20 * rows
  let { nowUs } = simulate(sizer, launch, 500)
  expect(sizer.rows).toBe(rowsMax)
  ;({ nowUs } = simulate(sizer, linear, 20_000, { from: nowUs }))
  expect(sizer.rows).toBeLessThanOrEqual(64)
  simulate(sizer, launch, 20_000, { from: nowUs })
  expect(sizer.rows).toBe(rowsMax)
})

test('few rows move nothing', () => {
  const sizer = new BatchSizer(rowsMax)
  for (let i = 0; i < 1000; i++) sizer.observe(3, 500, plenty, i * 1e5)
  expect(sizer).toMatchObject({ rows: 32, waitUs: 0 })
})

test("ARCHITECTURE.md's table is what the policy does", () => {
  const page = readFileSync(join(__dirname, '../../../ARCHITECTURE.md'), 'utf8')
  const rows = page.split('\n').map((line) => line.split('|').map((cell) => cell.trim()))
  const devices: Readonly<Record<string, readonly [Curve, number]>> = {
    'launch-bound: 5 ms + 1 us a row': [(n) => 5000 + n, plenty],
    'knee: 2 ms + 1 us a row, 20 us beyond 512': [(n) => 2000 + n + 19 * Math.max(0, n - 512), plenty],
    'linear: 100 us a row': [(n) => 100 * n, plenty],
    'deadline: 5 ms + 50 us a row, requests give 100 ms': [(n) => 5000 + 50 * n, 100_000],
  }
  for (const [device, [curve, budgetUs]] of Object.entries(devices)) {
    const sizer = new BatchSizer(rowsMax)
    const sizes = [sizer.rows]
    for (let i = 0, nowUs = 0; i < 200; i++) {
      nowUs += curve(sizer.rows)
      sizer.observe(sizer.rows, curve(sizer.rows), budgetUs, nowUs)
      if (sizes.at(-1) !== sizer.rows) sizes.push(sizer.rows)
    }
    const rate = (n: number): string => Math.round(rateOf(curve, n) * 1e6).toLocaleString('en')
    const run = (curve(sizer.rows) / 1000).toFixed(1)
    const cells = [device, sizes.join(' '), String(sizer.rows), run, rate(sizer.rows), rate(32)]
    expect(rows.find((row) => row[1] === device)?.slice(1, -1)).toEqual(cells)
  }
})

describe('waits for company', () => {
  /** Batches of `rows` rows of a device that is free for `idleUs` between them. */
  const few = (curve: Curve, rows: readonly number[], idleUs: number, budgetUs = plenty): BatchSizer => {
    const sizer = new BatchSizer(rowsMax)
    for (let i = 0, nowUs = 0; i < 400; i++) {
      const n = rows[i % rows.length]!
      nowUs += curve(n) + idleUs
      sizer.observe(n, curve(n), budgetUs, nowUs)
    }
    return sizer
  }
  const launch: Curve = (rows) => 20_000 + rows

  test('a part of what a launch costs, where the device is busy with small batches', () => {
    expect(few(launch, [1, 9], 0).waitUs).toBeCloseTo(5000, 0)
  })
  test('not where the device is idle', () => {
    expect(few(launch, [1, 9], 100_000).waitUs).toBe(0)
  })
  test('not where rows cost what they cost', () => {
    expect(few((rows) => 2000 * rows, [1, 9], 0).waitUs).toBe(0)
  })
  test('not longer than requests can', () => {
    expect(few(launch, [1, 9], 0, 100_000).waitUs).toBeLessThanOrEqual(100_000 / 16)
    expect(few(launch, [1, 9], 0, 10_000).waitUs).toBe(0)
  })
})
