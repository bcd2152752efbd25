import { makeSeats, sitters, takeSeat } from './index'
import { leaveSeat } from './seats'

test('each seat has one thread, which the kernel knows by its number', () => {
  const seats = makeSeats([[0], [1, 2], []])
  expect(sitters(seats)).toEqual([0, 0, 0])
  // The main thread of Node has the number 0.
  expect(takeSeat(seats, 0, 100)).toEqual([0])
  expect(takeSeat(seats, 5, 105)).toEqual([1, 2])
  expect(takeSeat(seats, 6, 106)).toEqual([])
  expect(sitters(seats)).toEqual([100, 105, 106])
})

test('a seat that is left is free for the next; leaving none does nothing', () => {
  const seats = makeSeats([[0], [1]])
  takeSeat(seats, 1, 101)
  takeSeat(seats, 2, 102)
  leaveSeat(seats, 7)
  expect(sitters(seats)).toEqual([101, 102])
  leaveSeat(seats, 1)
  expect(sitters(seats)).toEqual([0, 102])
  expect(takeSeat(seats, 3, 103)).toEqual([0])
})

test('without a free seat a thread gives up', () => {
  const seats = makeSeats([[0]])
  takeSeat(seats, 1, 101)
  expect(() => takeSeat(seats, 2, 102)).toThrow('all 1 seats of the pool are taken')
})
