/** Of a lane that is the only one with fewest, with four lanes all of 32 tries miss it once in 10,000 times. */
const triesOfLane = 8
const triesMax = 64

/**
 * Spreads connections over the lanes of a server evenly. Its lanes share one port, and by chance alone the kernel gives two
 * of eight connections to one lane and none to another. So a connection that ends on a lane which has more of them than
 * another is given up for the next try. Behind a balancer, several servers' lanes are spread over alike.
 */
export class LaneSpread {
  /** By address, of servers that have any connections: how many each lane has. */
  private readonly addresses = new Map<string, Map<string, number[]>>()

  /**
   * Counts a connection, unless another try would be better: null then.
   *
   * @param address that was dialled
   * @param name what the lane said that answered, if anything
   * @param tries made for this connection, this one included
   * @returns to be called when it is closed
   */
  take(address: string, name: string | undefined, tries: number): (() => void) | null {
    const [, server, at, of] = /^([\w-]{1,64})\/(\d{1,4})\/(\d{1,4})$/.exec(name ?? '') ?? []
    const [lane, lanes] = [Number(at), Number(of)]
    if (server === undefined || !(lane < lanes)) return () => undefined
    let servers = this.addresses.get(address)
    if (servers === undefined) this.addresses.set(address, (servers = new Map<string, number[]>()))
    const known = servers.get(server)
    const counts = known?.length === lanes ? known : new Array<number>(lanes).fill(0)
    const all = [...servers.values()].flat()
    if (counts[lane]! > Math.min(...all) && tries < Math.min(triesMax, triesOfLane * all.length)) return null
    counts[lane]!++
    servers.set(server, counts)
    return () => {
      counts[lane]!--
      if (counts.every((count) => count === 0) && servers.get(server) === counts) servers.delete(server)
    }
  }
}
