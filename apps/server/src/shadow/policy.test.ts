import fc from 'fast-check'
import { firstRows, mayCopy, nextRows, runUsWanted } from './policy'

test('copies leave a thread without them where there are several, and the last idle one to whoever waits', () => {
  const state = fc.record({
    threads: fc.integer({ min: 0, max: 8 }),
    idle: fc.integer({ min: 0, max: 8 }),
    copying: fc.integer({ min: 0, max: 8 }),
    wanted: fc.boolean(),
  })
  fc.assert(
    fc.property(state, ({ threads, idle, copying, wanted }) => {
      fc.pre(idle <= threads && threads + copying > 0)
      if (!mayCopy({ threads, idle, copying, wanted })) return
      expect(idle).toBeGreaterThan(wanted ? 1 : 0)
      if (threads + copying > 1) expect(copying + 1).toBeLessThan(threads + copying)
      else expect(copying).toBe(0)
    }),
    { seed: 1 },
  )
  expect(mayCopy({ threads: 1, idle: 1, copying: 0, wanted: false })).toBe(true)
  expect(mayCopy({ threads: 2, idle: 2, copying: 0, wanted: true })).toBe(true)
})

test.each([1, 20, 500, 5000])('a batch of copies comes to take about a millisecond: %d us a row', (rowUs) => {
  let limit = firstRows
  for (let i = 0; i < 20; i++) limit = nextRows(limit, 100 + limit * rowUs, limit, 512)
  const runUs = 100 + limit * rowUs
  expect(runUs <= 2 * runUsWanted || limit === 1).toBe(true)
  expect(limit === 512 || runUs > runUsWanted / 3).toBe(true)
})

test('small batches say nothing about large ones', () => {
  expect(nextRows(1, 100, 64, 512)).toBe(64)
  expect(nextRows(64, 100, 64, 512)).toBe(128)
  expect(nextRows(64, 100, 512, 512)).toBe(512)
})
