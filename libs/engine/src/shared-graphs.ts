import { threadMemory, threadMemoryBytes } from '@millrace/base'

/*
 * Loaded graphs that the threads of one process share. TensorFlow runs a session from as many threads as like, so one
 * copy of a model's weights is enough for all; what the threads need is the others' addresses, and who frees them.
 *
 * A table in the memory that threads have in common: a lock, then slots of 64 bytes:
 *
 *   0 state   4 holders   8 session's address   16 graph's address   32 key, 32 bytes
 */

/** Addresses of a loaded graph, valid until `release`. */
export interface SharedGraph {
  readonly session: bigint
  readonly graph: bigint
  release(): void
}
type Loaded = Omit<SharedGraph, 'release'>

const slotBytes = 64
const slots = threadMemoryBytes / slotBytes - 1
const state = { free: 0, loading: 1, ready: 2 } as const
/** Who waits longer for another thread's load than this loads it in its place. */
const waitMsMax = 120_000

/**
 * The graph of `key`, loaded by `load` where no thread has it. What is released by its last holder is handed to
 * `unload`. A thread that ends without releasing leaves the graph to those that come after it.
 *
 * @param key 32 bytes; equal keys mean equal graphs
 */
export function acquireGraph(key: Uint8Array, load: () => Loaded, unload: (graph: Loaded) => void): SharedGraph {
  const memory = threadMemory()
  const own = (): SharedGraph => {
    const loaded = load()
    return { ...loaded, release: () => unload(loaded) }
  }
  if (memory === null) return own()
  const table = new Table(memory)
  const slot = table.take(key)
  if (slot === null) return own()
  const shared = (): SharedGraph => {
    const loaded = slot.read()
    return { ...loaded, release: () => void (slot.leave() && unload(loaded)) }
  }
  if (!slot.isMine) return shared()
  try {
    slot.write(load())
  } catch (error) {
    slot.giveUp()
    throw error
  }
  return shared()
}

class Table {
  private readonly words: Int32Array
  private readonly addresses: BigInt64Array
  private readonly bytes: Buffer

  constructor(memory: SharedArrayBuffer) {
    this.words = new Int32Array(memory)
    this.addresses = new BigInt64Array(memory)
    this.bytes = Buffer.from(memory)
  }

  /** A slot that is ready, or one for the caller to fill; null where there is neither. */
  take(key: Uint8Array): Slot | null {
    for (let waitedMs = 0; ; waitedMs += 1000) {
      const slot = this.locked(() => this.find(key))
      if (slot === null || slot.isMine || slot.isReady) return slot
      // Who loads it has ended, most likely: the slot is for the next one.
      if (waitedMs >= waitMsMax) slot.giveUp()
      else Atomics.wait(this.words, slot.word, state.loading, 1000)
    }
  }

  /** Under the lock. Whoever finds a ready slot holds it. */
  private find(key: Uint8Array): Slot | null {
    let free = 0
    for (let i = 1; i <= slots; i++) {
      const word = (i * slotBytes) / 4
      const is = this.words[word]
      if (is === state.free) {
        free ||= i
        continue
      }
      if (this.bytes.compare(key, 0, 32, i * slotBytes + 32, i * slotBytes + 64) !== 0) continue
      if (is === state.ready) this.words[word + 1]!++
      return this.slot(i, { isReady: is === state.ready })
    }
    if (free === 0) return null
    const word = (free * slotBytes) / 4
    this.bytes.set(key.subarray(0, 32), free * slotBytes + 32)
    this.words[word + 1] = 1
    Atomics.store(this.words, word, state.loading)
    return this.slot(free, { isMine: true })
  }

  private slot(index: number, { isMine = false, isReady = false }): Slot {
    const word = (index * slotBytes) / 4
    const at = (index * slotBytes) / 8
    const become = (is: number): void => {
      Atomics.store(this.words, word, is)
      Atomics.notify(this.words, word)
    }
    return {
      word,
      isMine,
      isReady,
      read: () => ({ session: this.addresses[at + 1]!, graph: this.addresses[at + 2]! }),
      write: ({ session, graph }) => {
        this.addresses[at + 1] = session
        this.addresses[at + 2] = graph
        become(state.ready)
      },
      giveUp: () => become(state.free),
      leave: () =>
        this.locked(() => {
          if (--this.words[word + 1]! > 0) return false
          become(state.free)
          return true
        }),
    }
  }

  private locked<T>(act: () => T): T {
    // Held for microseconds; a thread that was ended just then does not hold up the others for good.
    for (let tries = 0; Atomics.compareExchange(this.words, 0, 0, 1) !== 0 && tries < 500; tries++)
      Atomics.wait(this.words, 0, 1, 10)
    try {
      return act()
    } finally {
      Atomics.store(this.words, 0, 0)
      Atomics.notify(this.words, 0, 1)
    }
  }
}

interface Slot {
  /** Of its state. */
  readonly word: number
  /** To be filled by who took it. */
  readonly isMine: boolean
  /** Held by who took it. */
  readonly isReady: boolean
  read(): Loaded
  write(loaded: Loaded): void
  giveUp(): void
  /** True for the last holder. */
  leave(): boolean
}
