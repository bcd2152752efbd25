import type { Clock } from '@millrace/base'
import type { Batch } from '@millrace/batch'
import type { Caller } from './caller'
import { Outgoing } from './outgoing'
import { anybody } from './principal'

/** What happened: `corked NAME`, `NAME CALL`, `freed BATCH`. */
let said: string[]
let deferred: (() => void)[]
let callers: (Caller | null)[]
let outgoing: Outgoing

beforeEach(() => {
  said = []
  deferred = []
  callers = []
  const clock: Clock = {
    nowUs: () => 0,
    nowMs: () => 0,
    defer: (act) => void deferred.push(act),
    after: () => () => undefined,
    every: () => () => undefined,
  }
  outgoing = new Outgoing(
    callers,
    clock,
    () => said.push('begin'),
    (batch, from, to) => {
      for (let r = from; r < to; r++) said.push(`${nameOf(callers[batch.call[r]!]!)} ${batch.call[r]}`)
    },
  )
})

class Named implements Caller {
  readonly party = { who: anybody, inFlight: 0, arenaBytes: 0 }
  closed = false
  lastRun = -1

  constructor(readonly name: string) {}

  reply(): void {}

  cork(send: () => void): void {
    said.push(`corked ${this.name}`)
    send()
  }
}

function nameOf(caller: Caller | null): string {
  return caller === null ? 'nobody' : (caller as Named).name
}

/** A batch of one request for each of these callers, whose calls are numbered on from those before. */
function ran(name: string, ...of: (Caller | null)[]): void {
  const first = callers.push(...of) - of.length
  const queue = { free: () => said.push(`freed ${name}`) }
  const call = of.map((_, r) => first + r)
  outgoing.add({ requests: of.length, call, queue } as unknown as Batch)
}

function endOfTurn(): string[] {
  const begun = said.length
  for (const act of deferred.splice(0)) act()
  return said.splice(begun)
}

test('a caller is corked once for all that it is answered in a turn, batch by batch; then the slabs are free', () => {
  const [a, b] = [new Named('a'), new Named('b')]
  ran('first', a, a, b, a)
  ran('second', b, a)
  expect(said).toEqual([])
  expect(endOfTurn()).toEqual([
    ...['begin', 'corked a', 'a 0', 'a 1', 'a 3', 'a 5', 'corked b', 'b 2', 'b 4'],
    ...['freed first', 'freed second'],
  ])
})

test('who is gone is not corked, and is counted all the same', () => {
  const gone = new Named('gone')
  ran('first', null, gone, null)
  gone.closed = true
  expect(endOfTurn()).toEqual(['begin', 'nobody 0', 'nobody 2', 'gone 1', 'freed first'])
})

test('each turn begins anew, also after one of many callers', () => {
  const all = Array.from({ length: 1000 }, (_, i) => new Named(`c${i}`))
  ran('many', ...all)
  expect(endOfTurn()).toEqual([
    'begin',
    ...all.flatMap(({ name }, i) => [`corked ${name}`, `${name} ${i}`]),
    'freed many',
  ])
  ran('few', all[7]!, null, all[7]!)
  expect(endOfTurn()).toEqual(['begin', 'corked c7', 'c7 1000', 'c7 1002', 'nobody 1001', 'freed few'])
  expect(deferred).toEqual([])
})
