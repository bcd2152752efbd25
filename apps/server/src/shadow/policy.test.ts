import fc from 'fast-check'
import { firstRows, mayCopy, nextRows, runUsWanted } from './policy'

test('copies have one thread of a pool at a time, and never the last idle one while somebody waits', () => {
  const state = fc.record({
    idle: fc.integer({ min: 0, max: 8 }),
    copying: fc.integer({ min: 0, max: 8 }),
    wanted: fc.boolean(),
  })
  fc.assert(
    fc.property(state, ({ idle, copying, wanted }) => {
      if (!mayCopy({ idle, copying, wanted })) return
      expect(idle).toBeGreaterThan(wanted ? 1 : 0)
      expect(copying).toBe(0)
    }),
    { seed: 1 },
  )
  expect(mayCopy({ idle: 1, copying: 0, wanted: false })).toBe(true)
  expect(mayCopy({ idle: 2, copying: 0, wanted: true })).toBe(true)
})

test.each([1, 20, 500, 5000])(
  'a batch of copies comes to take about a quarter of a millisecond: %d us a row',
  (rowUs) => {
    let limit = firstRows
    for (let i = 0; i < 20; i++) limit = nextRows(limit, 100 + limit * rowUs, limit, 512)
    const runUs = 100 + limit * rowUs
    expect(runUs <= 2 * runUsWanted || limit === 1).toBe(true)
    expect(limit === 512 || runUs > runUsWanted / 3).toBe(true)
  },
)

test('small batches say nothing about large ones', () => {
  expect(nextRows(1, 100, 64, 512)).toBe(64)
  expect(nextRows(64, 100, 64, 512)).toBe(128)
  expect(nextRows(64, 100, 512, 512)).toBe(512)
})
