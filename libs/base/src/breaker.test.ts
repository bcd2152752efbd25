import { Breaker, Code, Refusal } from './index'

const down = (): Promise<never> => Promise.reject(new Refusal(Code.UNAVAILABLE, 'down'))
const up = (): Promise<string> => Promise.resolve('up')

let us: number
let breaker: Breaker
beforeEach(() => {
  us = 0
  breaker = new Breaker('the store', { failuresMax: 3, openMs: 10 }, () => us)
})

async function failTimes(times: number): Promise<void> {
  for (let i = 0; i < times; i++) await expect(breaker.run(down)).rejects.toThrow('down')
}

test('opens after failures in a row, and refuses without asking', async () => {
  await failTimes(2)
  expect(await breaker.run(up)).toBe('up')
  await failTimes(3)
  expect(breaker.state).toBe('open')
  const asked = jest.fn(up)
  await expect(breaker.run(asked)).rejects.toThrow('the store does not answer and is not asked again yet (down)')
  expect(asked).not.toHaveBeenCalled()
  expect(breaker).toMatchObject({ opened: 1, refused: 1 })
})

test('one asks again after a while; the others wait for its answer by being refused', async () => {
  await failTimes(3)
  us = 10_000
  let answer: (value: string) => void = () => undefined
  const probe = breaker.run(() => new Promise<string>((resolve) => (answer = resolve)))
  expect(breaker.state).toBe('half-open')
  await expect(breaker.run(up)).rejects.toThrow('not asked again yet')
  answer('back')
  expect(await probe).toBe('back')
  expect(breaker.state).toBe('closed')
  expect(await breaker.run(up)).toBe('up')
})

test('a probe that fails opens it again, for as long', async () => {
  await failTimes(3)
  us = 10_000
  await failTimes(1)
  expect(breaker).toMatchObject({ state: 'open', opened: 2 })
  us = 19_999
  await expect(breaker.run(up)).rejects.toThrow('not asked again yet')
  us = 20_000
  expect(await breaker.run(up)).toBe('up')
})

test('an answer that is a no is an answer', async () => {
  const no = (): Promise<never> => Promise.reject(new Refusal(Code.NOT_FOUND, 'no such table'))
  for (let i = 0; i < 10; i++) await expect(breaker.run(no)).rejects.toThrow('no such table')
  expect(breaker.state).toBe('closed')
})
