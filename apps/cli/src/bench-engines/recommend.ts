/** Faster by less than this is not faster. */
const margin = 1.05

export interface Recommendation {
  /** The engines that run it and agree, fastest first. */
  readonly order: readonly string[]
  /** The line for the environment; null where the fastest is what is taken already. */
  readonly set: string | null
  readonly reason: string
}

interface Contender {
  readonly engine: string
  readonly agrees: boolean
  readonly slowness: number
}

/** What a pool is told already: its variable, the engines it names (none: all), and all that there are, in their order. */
interface Setting {
  readonly variable: string
  readonly inForce: readonly string[]
  readonly all: readonly string[]
}

/** The fastest engine first, whose answers agree with the first one's; engines for other models stay as they are. */
export function recommend(contenders: readonly Contender[], { variable, inForce, all }: Setting): Recommendation {
  const now = inForce.length > 0 ? inForce : all
  const able = contenders.filter(({ agrees }) => agrees).sort((a, b) => a.slowness - b.slowness)
  const order = able.map(({ engine }) => engine)
  const [best, second] = able
  const apart = contenders.filter(({ agrees }) => !agrees).map(({ engine }) => engine)
  const taken = now.find((engine) => order.includes(engine) || apart.includes(engine))
  const others = now.filter((engine) => !order.includes(engine) && !apart.includes(engine))
  const set = `${variable}=${[...order, ...others].join(',')}`
  if (best === undefined || second === undefined)
    return {
      order,
      set: best === undefined || best.engine === taken ? null : set,
      reason: `${order[0]} alone runs it here`,
    }
  const mine = able.find(({ engine }) => engine === taken)
  if (mine !== undefined && mine.slowness / best.slowness < margin)
    return {
      order,
      set: null,
      reason:
        mine === best
          ? `${best.engine} is the fastest, ${times(second.slowness / best.slowness)} ${second.engine}, and is taken already`
          : `${best.engine} is no faster than ${mine.engine}, which is taken already, by ${Math.round((margin - 1) * 100)} %`,
    }
  const rival = mine ?? second
  return {
    order,
    set,
    reason: `${best.engine} is the fastest, ${times(rival.slowness / best.slowness)} ${rival.engine}`,
  }
}

function times(ratio: number): string {
  return `${ratio.toPrecision(2)} times as fast as`
}
