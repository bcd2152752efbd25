import { beginWork, makeWork } from './thread-work'

/** CPUs for each thread of a pool, and in shared memory who sits where. Goes to threads in their `workerData`. */
export interface Seats {
  /** By seat; an empty list is a seat anywhere. */
  readonly cpus: readonly (readonly number[])[]
  /** Two words a seat: one more than Node's id of the thread, or 0 when the seat is free; the kernel's id. */
  readonly taken: Int32Array
  /** What its threads are doing (thread-work.ts). */
  readonly work: Int32Array
}

/** How long a thread waits for the seat of the one that it replaces, which may not be gone yet. */
const waitMs = 2_000
const pollMs = 10

export function makeSeats(cpus: readonly (readonly number[])[]): Seats {
  return { cpus, taken: new Int32Array(new SharedArrayBuffer(8 * cpus.length)), work: makeWork(cpus.length) }
}

/** The CPUs of a seat that is this thread's from now on. Blocks a while when none is free; then throws. */
export function takeSeat(seats: Seats, threadId: number, tid: number): readonly number[] {
  const { cpus, taken } = seats
  for (let waited = 0; waited <= waitMs; waited += pollMs) {
    for (let seat = 0; seat < cpus.length; seat++) {
      if (Atomics.compareExchange(taken, 2 * seat, 0, threadId + 1) !== 0) continue
      Atomics.store(taken, 2 * seat + 1, tid)
      beginWork(seats, seat)
      return cpus[seat]!
    }
    Atomics.wait(taken, 0, taken[0]!, pollMs)
  }
  throw new Error(`all ${cpus.length} seats of the pool are taken`)
}

/** Frees the seat of a thread that is gone. */
export function leaveSeat({ cpus, taken }: Seats, threadId: number): void {
  for (let seat = 0; seat < cpus.length; seat++)
    if (Atomics.load(taken, 2 * seat) === threadId + 1) {
      Atomics.store(taken, 2 * seat + 1, 0)
      Atomics.store(taken, 2 * seat, 0)
    }
}

/** By seat, the kernel's id of its thread; 0 when it is free. */
export function sitters({ cpus, taken }: Seats): number[] {
  return cpus.map((_, seat) => Atomics.load(taken, 2 * seat + 1))
}
