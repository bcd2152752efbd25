import { seededRandom } from '@millrace/base'
import { BulkTurn, isSmall, lostMost } from './index'

describe('an interactive batch is small', () => {
  const costly = { fixedUs: 5000, rowUs: 10 }
  const small = (rows: number, limit: number, { fixedUs, rowUs } = costly): boolean =>
    isSmall(rows, limit, fixedUs, rowUs)

  test('while it has less than half of what its queue gathers', () => {
    expect([1, 7, 8, 16].map((rows) => small(rows, 16))).toEqual([true, true, false, false])
  })

  test('while its run costs more than its rows', () => {
    expect([1, 499, 500, 501].map((rows) => small(rows, 4096))).toEqual([true, true, false, false])
  })

  test('never, where rows cost what they cost: a thread has time to spare when it idles', () => {
    expect(small(1, 4096, { fixedUs: 0, rowUs: 10 })).toBe(false)
  })

  test('not before anything is known', () => {
    expect(small(1, 4096, { fixedUs: 0, rowUs: 0 })).toBe(false)
  })

  test('not where a queue gathers one row', () => {
    expect(small(1, 1)).toBe(false)
  })
})

/** Both always wait: whose turn it is, by whether each interactive batch was small. */
function order(smalls: readonly boolean[]): string {
  const turn = new BulkTurn()
  let said = ''
  for (const small of smalls) {
    for (; turn.isDue; turn.tookBulk()) said += 'b'
    said += small ? 'i' : 'I'
    turn.tookInteractive(small, false)
  }
  return said
}

test('after a small interactive batch one of bulk goes, after a full one none', () => {
  expect(order([true, true, true])).toBe('ibibi')
  expect(order([false, false, true, false, false])).toBe('IIibII')
})

test('a turn that nobody took stays until the next interactive batch', () => {
  const turn = new BulkTurn()
  turn.tookInteractive(true, false)
  expect(turn.isDue).toBe(true)
  turn.tookInteractive(false, false)
  expect(turn.isDue).toBe(false)
})

test('bulk loses its turn while interactive requests are refused or late, and has it back with the first batch after', () => {
  const turn = new BulkTurn()
  const due = [true, true, false, true, false].map((pressed) => {
    turn.tookInteractive(true, pressed)
    return turn.isDue
  })
  expect(due).toEqual([false, false, true, false, true])
})

test('whatever comes: a turn is only after a small batch, lost only to those who are pressed, and not for ever', () => {
  for (let seed = 1; seed <= 100; seed++) {
    const random = seededRandom(seed)
    const [smalls, presses] = [random(), random() < 0.5 ? 1 : random()]
    const turn = new BulkTurn()
    // Since bulk had its turn.
    let smallOnes = 0
    const [due, expected]: [boolean[], boolean[]] = [[], []]
    for (let i = 0; i < 2000; i++) {
      const [small, pressed] = [random() < smalls, random() < presses]
      turn.tookInteractive(small, pressed)
      if (small) smallOnes++
      due.push(turn.isDue)
      expected.push(small && (!pressed || smallOnes > lostMost))
      if (!turn.isDue) continue
      turn.tookBulk()
      smallOnes = 0
    }
    expect([seed, due]).toEqual([seed, expected])
  }
})
