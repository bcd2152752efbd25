import fc from 'fast-check'
import { FittingRows } from './fitting-rows'

const s = 1e6

/** Runs `rows` rows in parts, as the worker does, on a device that takes `fits` at once. Returns the runs made. */
function run(fitting: FittingRows, rows: number, fits: number, nowUs: number): number {
  let runs = 0
  const attempt = (n: number): void => {
    if (n > fitting.limit) return parts(n)
    runs++
    if (n <= fits) return fitting.fitted(n)
    fitting.failed(n, nowUs)
    if (n > 1) parts(n)
  }
  const parts = (n: number): void => {
    for (let at = 0; at < n; ) {
      const part = Math.min(fitting.limit, n - at)
      attempt(part)
      at += part
    }
  }
  attempt(rows)
  return runs
}

test('while all fit there is no limit', () => {
  const fitting = new FittingRows(512)
  run(fitting, 512, 512, 0)
  expect(fitting).toMatchObject({ limit: Infinity, failures: 0 })
})

test('half of what was too large, until it fits; then nothing fails', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 512 }), fc.array(fc.integer({ min: 1, max: 512 })), (fits, batches) => {
      const fitting = new FittingRows(512)
      run(fitting, 512, fits, 0)
      const { failures, limit } = fitting
      expect(failures).toBe(Math.max(0, Math.ceil(Math.log2(512 / fits))))
      for (const rows of batches) run(fitting, rows, fits, s)
      expect(fitting).toMatchObject({ failures, limit })
      if (fits < 512) expect(limit).toBeLessThanOrEqual(fits)
      if (fits < 512) expect(limit * 2).toBeGreaterThan(fits)
    }),
  )
})

test('grows back when there is memory again, and asks ever less often while there is not', () => {
  const fitting = new FittingRows(64)
  run(fitting, 64, 16, 0)
  expect(fitting.at(9 * s)).toBe(16)
  let asked = 0
  for (let t = 0; t < 3600; t++) {
    const before = fitting.failures
    run(fitting, Math.min(64, fitting.at(t * s)), 16, t * s)
    asked += fitting.failures - before
  }
  // 10 s, 20 s ... 10 min: a dozen or so, not 360.
  expect(asked).toBeGreaterThan(5)
  expect(asked).toBeLessThan(15)
  let t = 3600
  for (; fitting.limit !== Infinity && t < 7200; t++) run(fitting, Math.min(64, fitting.at(t * s)), 64, t * s)
  expect(fitting.limit).toBe(Infinity)
  // More fitted, so the next shortage is a new one.
  run(fitting, 64, 16, t * s)
  expect(fitting.at((t + 9) * s)).toBe(16)
  expect(fitting.at((t + 10) * s)).toBe(32)
})

test('a row that is too large alone leaves the limit as it was', () => {
  const fitting = new FittingRows(512)
  fitting.failed(4, 0)
  fitting.failed(2, 0)
  fitting.failed(1, 0)
  expect(fitting.limit).toBe(1)
  fitting.fitted(1)
  expect(fitting.limit).toBe(Infinity)
})

test('where no row fits, each is tried once', () => {
  const fitting = new FittingRows(512)
  expect(run(fitting, 512, 0, 0)).toBe(9 + 512)
})
