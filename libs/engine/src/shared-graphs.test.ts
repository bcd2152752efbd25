import { setEnvironmentData } from 'node:worker_threads'
import { shareThreadMemory } from '@millrace/base'
import { acquireGraph } from './shared-graphs'

const key = (n: number): Buffer => Buffer.alloc(32, n)
let loads = 0
let unloaded: bigint[] = []
const load = () => ({ session: BigInt(++loads), graph: BigInt(loads) + 100n })
const acquire = (n: number) => acquireGraph(key(n), load, ({ session }) => unloaded.push(session))

beforeEach(() => {
  setEnvironmentData('millrace.threads', undefined)
  loads = 0
  unloaded = []
})

describe('without memory in common', () => {
  test('everybody has a graph of his own', () => {
    const [a, b] = [acquire(1), acquire(1)]
    expect([a.session, b.session]).toEqual([1n, 2n])
    a.release()
    expect(unloaded).toEqual([1n])
    b.release()
    expect(unloaded).toEqual([1n, 2n])
  })
})

describe('with memory in common', () => {
  beforeEach(() => shareThreadMemory())
  afterEach(() => setEnvironmentData('millrace.threads', undefined))

  test('a graph is loaded once, and unloaded by its last holder', () => {
    const [a, b, c] = [acquire(1), acquire(1), acquire(2)]
    expect([a, b, c].map(({ session, graph }) => [session, graph])).toEqual([
      [1n, 101n],
      [1n, 101n],
      [2n, 102n],
    ])
    a.release()
    expect(unloaded).toEqual([])
    b.release()
    expect(unloaded).toEqual([1n])
    expect(acquire(1).session).toBe(3n)
  })

  test('a load that throws leaves its place to the next', () => {
    const broken = (): never => {
      throw new Error('no such file')
    }
    expect(() => acquireGraph(key(1), broken, () => undefined)).toThrow('no such file')
    expect(acquire(1).session).toBe(1n)
  })

  test('a full table is no obstacle', () => {
    const graphs = Array.from({ length: 1100 }, (_, i) => {
      const own = Buffer.alloc(32)
      own.writeUInt32LE(i + 1)
      return acquireGraph(own, load, ({ session }) => unloaded.push(session))
    })
    expect(new Set(graphs.map(({ session }) => session)).size).toBe(1100)
    for (const graph of graphs) graph.release()
    expect(unloaded).toHaveLength(1100)
  })
})
