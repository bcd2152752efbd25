import type { Seats } from './seats'

/*
 * What the threads of a pool are doing, in memory that they share with whoever gives them batches. A thread whose code
 * never returns has to be ended. JavaScript can be ended wherever it is. Native code cannot: the thread goes on until it
 * returns, and an addon that then finds its thread ending may abort the whole process, as onnxruntime's does. So a thread
 * says when it enters native code, and whoever ends it makes sure that it is not there and does not get there.
 */

/** Words of a seat. */
const wordsOfSeat = 2
/** Batches that it began and ended: odd while one runs. */
const turnsWord = 0
/** Calls of native code that it is in; `ended` when it may enter no more. */
const nativeWord = 1
const ended = -1

/** The thread's own side. */
export class ThreadWork {
  constructor(
    private readonly words: Int32Array,
    private readonly at: number,
  ) {}

  /** Of a thread that has a seat. */
  static of(seats: Seats, threadId: number): ThreadWork {
    return new ThreadWork(seats.work, wordsOfSeat * seatOf(seats, threadId))
  }

  /** A batch begins, or is at its end. */
  turn(): void {
    Atomics.add(this.words, this.at + turnsWord, 1)
  }

  /** Runs what enters native code, and keeps this thread from being ended meanwhile. */
  readonly native = async <T>(work: () => Promise<T>): Promise<T> => {
    const at = this.at + nativeWord
    for (;;) {
      const calls = Atomics.load(this.words, at)
      // It is being ended, which interrupts this.
      if (calls === ended) Atomics.wait(this.words, at, ended)
      else if (Atomics.compareExchange(this.words, at, calls, calls + 1) === calls) break
    }
    try {
      return await work()
    } finally {
      Atomics.sub(this.words, at, 1)
    }
  }
}

/** Memory for the threads of so many seats. */
export function makeWork(seats: number): Int32Array {
  return new Int32Array(new SharedArrayBuffer(4 * wordsOfSeat * seats))
}

/** For the thread that takes a seat. */
export function beginWork({ work }: Seats, seat: number): void {
  Atomics.store(work, wordsOfSeat * seat + turnsWord, 0)
  Atomics.store(work, wordsOfSeat * seat + nativeWord, 0)
}

/** Changes with every batch that a thread begins or ends; odd while one runs. 0 where it has no seat yet. */
export function turnsOf(seats: Seats, threadId: number): number {
  const seat = seatOf(seats, threadId)
  return seat < 0 ? 0 : Atomics.load(seats.work, wordsOfSeat * seat + turnsWord)
}

/** Whether a thread can be ended now: it is not in native code, and enters it no more from here on. */
export function mayEnd(seats: Seats, threadId: number): boolean {
  const seat = seatOf(seats, threadId)
  if (seat < 0) return true
  const calls = Atomics.compareExchange(seats.work, wordsOfSeat * seat + nativeWord, 0, ended)
  return calls === 0 || calls === ended
}

function seatOf({ cpus, taken }: Seats, threadId: number): number {
  for (let seat = 0; seat < cpus.length; seat++) if (Atomics.load(taken, 2 * seat) === threadId + 1) return seat
  return -1
}
