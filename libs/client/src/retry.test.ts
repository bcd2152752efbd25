import { ScoreError } from './index'
import { Retries } from './retry'

const unavailable = (): ScoreError => new ScoreError('UNAVAILABLE', 'not now')

test('a budget: when nothing is answered, a fifth more is asked, and what one connection may have had in flight', async () => {
  const retries = new Retries(2)
  let attempts = 0
  const requests = 5_000
  const fail = async (): Promise<unknown> =>
    retries
      .run(10_000, () => {
        attempts++
        return Promise.reject(unavailable())
      })
      .catch((error: unknown) => error)
  const ends = await Promise.all(Array.from({ length: requests }, fail))
  expect(new Set(ends.map((error) => (error as ScoreError).code))).toEqual(new Set(['UNAVAILABLE']))
  expect(attempts - requests).toBeGreaterThan(1_000)
  expect(attempts - requests).toBeLessThanOrEqual(1_000 + requests / 5)
  // What is answered earns it back.
  for (let i = 0; i < 100; i++) await retries.run(1_000, () => Promise.resolve())
  const before = attempts
  await Promise.all(Array.from({ length: 20 }, fail))
  expect(attempts - before).toBeGreaterThan(20)
})

test('each attempt has what is left of the time; none is made without', async () => {
  const lefts: number[] = []
  const begun = performance.now()
  const end = new Retries(100).run(200, (leftMs) => {
    lefts.push(leftMs)
    return Promise.reject(unavailable())
  })
  await expect(end).rejects.toThrow('not now')
  expect(performance.now() - begun).toBeLessThan(10_000)
  expect(lefts[0]).toBe(200)
  expect(lefts.length).toBeGreaterThan(1)
  expect(lefts.length).toBeLessThan(10)
  for (let i = 1; i < lefts.length; i++) {
    expect(lefts[i]).toBeLessThan(lefts[i - 1]!)
    expect(lefts[i]).toBeGreaterThan(0)
  }
})

test('closing ends the pause before another attempt', async () => {
  const retries = new Retries(5)
  const end = retries.run(60_000, () => {
    setImmediate(() => retries.close())
    return Promise.reject(unavailable())
  })
  await expect(end).rejects.toThrow('the client is closed')
})
