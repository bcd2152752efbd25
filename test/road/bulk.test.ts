import { encodeRequestList } from '@millrace/wire'
import { Gate, gatedRepository } from '../support/gate'
import { repliesById } from '../support/messages'
import { RawSocket } from '../support/raw-socket'
import { serve, stopServed, until } from '../support/served'

afterAll(stopServed)

const bulk = { priority: 'bulk' } as const

/** Full batches of `gated`, which gathers eight rows. */
const eight = (first: number): number[] => Array.from({ length: 8 }, (_, i) => first + i)

test('interactive batches go first, but one of bulk after each that was small', async () => {
  const served = await serve(
    { MILLRACE_POOL_CPU_THREADS: '1', MILLRACE_POOL_CPU_IN_FLIGHT: '1', MILLRACE_DEADLINE_MS_DEFAULT: '60000' },
    gatedRepository,
  )
  const gate = new Gate()
  const socket = await RawSocket.open(served.server.port)
  // What a run costs is known from here on.
  socket.send(gate.request(1, [1]))
  await socket.received(1)
  // A small batch runs while the others come.
  socket.send(gate.request(2, [2], { open: false }))
  await gate.begun(2)
  socket.send(
    encodeRequestList([
      gate.request(3, eight(10)),
      gate.request(4, eight(20)),
      gate.request(5, [30]),
      gate.request(6, eight(40), bulk),
      gate.request(7, eight(50), bulk),
      gate.request(8, [60], bulk),
    ]),
  )
  await until('all of them wait', async () => {
    const { requestsInFlight } = await served.lane()
    return requestsInFlight === 7 || `${requestsInFlight}`
  })
  gate.open()
  const replies = repliesById(await socket.received(8))
  expect(replies.map(({ code }) => code)).toEqual(Array.from({ length: 8 }, () => 'OK'))
  // Of bulk: one after the small batch, none between the full ones, the others when there is nothing else.
  expect(gate.scored).toEqual([[1], [2], eight(40), eight(10), eight(20), [30], eight(50), [60]])
  await socket.close()
  await served.idle()
  gate.remove()
})
