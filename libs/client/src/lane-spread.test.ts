import { seededRandom } from '@millrace/base'
import { LaneSpread } from './lane-spread'

const seed = 20_261_126

/** Opens so many connections to lanes drawn by chance; how many each lane has, and the tries that it took. */
function opened(spread: LaneSpread, connections: number, draw: () => string) {
  const kept: { name: string; release: () => void }[] = []
  let tries = 0
  for (let c = 0; c < connections; c++)
    for (let t = 1; ; t++) {
      const name = draw()
      tries++
      const release = spread.take('there', name, t)
      if (release === null) continue
      kept.push({ name, release })
      break
    }
  const counts: Record<string, number> = {}
  for (const { name } of kept) counts[name] = (counts[name] ?? 0) + 1
  return { counts, tries, kept }
}

describe('connections over lanes', () => {
  it.each([
    [8, 4, 1],
    [3, 4, 1],
    [10, 4, 1],
    [24, 2, 3],
  ])('%d connections over %d lanes of %d servers differ by one at most', (connections, lanes, servers) => {
    const random = seededRandom(seed)
    const all = lanes * servers
    const draw = (): string => {
      const n = Math.floor(random() * all)
      return `server-${n % servers}/${Math.floor(n / servers)}/${lanes}`
    }
    const { counts, tries } = opened(new LaneSpread(), connections, draw)
    const each = [...Object.values(counts), ...new Array<number>(all - Object.keys(counts).length).fill(0)]
    expect(Math.max(...each) - Math.min(...each)).toBeLessThanOrEqual(1)
    expect(tries).toBeLessThan(connections * all * 3)
  })

  it('takes the first that comes where a lane does not say who it is, or says nonsense', () => {
    const spread = new LaneSpread()
    for (const name of [undefined, '', '4/4', 'a/4/4', 'a/b/c', 'a/1/4/5'])
      for (let i = 0; i < 3; i++) expect(spread.take('there', name, 1)).not.toBeNull()
  })

  it('goes on with a lane that is full when another cannot be reached', () => {
    const { counts, tries } = opened(new LaneSpread(), 3, () => 'a/1/4')
    expect(counts).toEqual({ 'a/1/4': 3 })
    expect(tries).toBe(1 + 32 + 32)
  })

  it('forgets a server that has no connection any more, and takes again what was closed', () => {
    const spread = new LaneSpread()
    const first = spread.take('there', 'old/0/2', 1)!
    first()
    const second = spread.take('there', 'new/0/1', 1)!
    // The lane 1 of the old server is not waited for.
    expect(spread.take('there', 'new/0/1', 1)).not.toBeNull()
    second()
    const other = spread.take('there', 'other/0/2', 1)
    expect(other).not.toBeNull()
    expect(spread.take('there', 'other/0/2', 1)).toBeNull()
    other!()
    expect(spread.take('there', 'other/1/2', 1)).not.toBeNull()
  })

  it('waits for no lane of another address', () => {
    const spread = new LaneSpread()
    expect(spread.take('here', 'a/0/2', 1)).not.toBeNull()
    for (let i = 0; i < 3; i++) expect(spread.take('there', 'b/0/1', 1)).not.toBeNull()
    expect(spread.take('here', 'a/0/2', 1)).toBeNull()
  })
})
