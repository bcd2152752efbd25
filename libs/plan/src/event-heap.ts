const { min } = Math
const never = Infinity

/**
 * The next events of a simulation, earliest first: a heap with four children a node in typed arrays, so that an event
 * is three numbers and nothing is allocated for it. Events of the same time come in any order, the same in every run.
 */
export class EventHeap {
  size = 0
  private times = new Float64Array(1024)
  private targets = new Int32Array(1024)
  private stamps = new Int32Array(1024)

  /** When the next event is; Infinity when there is none. */
  get time(): number {
    return this.size === 0 ? never : this.times[0]!
  }
  /** What the next event is for: whatever `push` was given. */
  get target(): number {
    return this.targets[0]!
  }
  get stamp(): number {
    return this.stamps[0]!
  }

  push(time: number, target: number, stamp: number): void {
    if (this.size === this.times.length) this.grow()
    const { times, targets, stamps } = this
    let at = this.size++
    while (at > 0) {
      const parent = (at - 1) >> 2
      if (times[parent]! <= time) break
      times[at] = times[parent]!
      targets[at] = targets[parent]!
      stamps[at] = stamps[parent]!
      at = parent
    }
    times[at] = time
    targets[at] = target
    stamps[at] = stamp
  }

  /** Drops the next event. */
  pop(): void {
    const { times, targets, stamps } = this
    const size = --this.size
    const time = times[size]!
    let at = 0
    for (;;) {
      const first = 4 * at + 1
      if (first >= size) break
      let least = first
      const end = min(first + 4, size)
      for (let child = first + 1; child < end; child++) if (times[child]! < times[least]!) least = child
      if (times[least]! >= time) break
      times[at] = times[least]!
      targets[at] = targets[least]!
      stamps[at] = stamps[least]!
      at = least
    }
    times[at] = time
    targets[at] = targets[size]!
    stamps[at] = stamps[size]!
  }

  private grow(): void {
    const length = 2 * this.times.length
    const [times, targets, stamps] = [new Float64Array(length), new Int32Array(length), new Int32Array(length)]
    times.set(this.times)
    targets.set(this.targets)
    stamps.set(this.stamps)
    this.times = times
    this.targets = targets
    this.stamps = stamps
  }
}
