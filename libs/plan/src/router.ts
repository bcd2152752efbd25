import type { SimLane } from './sim-lane'

const { floor } = Math

/** How requests find a lane. */
export type Routing =
  /** Any, as by a hash of connections or of requests. */
  | { readonly kind: 'even' }
  /** The one of two with fewer requests under way (M. Mitzenmacher, 2001; Vvedenskaya, Dobrushin and Karpelevich, 1996). */
  | { readonly kind: 'two' }
  /** Any, by weight: lanes with long-lived connections to larger clients get more. */
  | { readonly kind: 'weighted'; readonly weights: readonly number[] }

/** The lanes that requests are sent to. */
export class Router {
  private readonly routed: SimLane[] = []
  private readonly weightMax: number

  constructor(
    lanes: readonly SimLane[],
    private readonly routing: Routing,
    private readonly random: () => number,
  ) {
    for (const lane of lanes) this.add(lane)
    this.weightMax = routing.kind === 'weighted' ? Math.max(...routing.weights) : 1
  }

  /** Null when no lane is left. */
  pick(): SimLane | null {
    const { routed, routing } = this
    if (routed.length <= 1) return routed[0] ?? null
    const one = this.any()
    if (routing.kind === 'even') return one
    if (routing.kind === 'two') {
      const other = this.any()
      return other.outstanding < one.outstanding ? other : one
    }
    for (let lane = one; ; lane = this.any())
      if (this.random() * this.weightMax <= routing.weights[lane.index]!) return lane
  }

  add(lane: SimLane): void {
    if (lane.routed >= 0) return
    lane.routed = this.routed.push(lane) - 1
  }

  remove(lane: SimLane): void {
    if (lane.routed < 0) return
    const last = this.routed.pop()!
    if (last !== lane) {
      this.routed[lane.routed] = last
      last.routed = lane.routed
    }
    lane.routed = -1
  }

  private any(): SimLane {
    return this.routed[floor(this.random() * this.routed.length)]!
  }
}
