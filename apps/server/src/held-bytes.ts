/** Something of a client that the lane holds bytes for. */
export interface Holding {
  /** Ends it; what was held is let go. */
  drop(): void
}

/**
 * Bytes that a lane holds for its clients, over all connections: what they were sent and have not taken, or what they sent
 * in part. Where they are too many, whoever has most of them is dropped, so that the others are served.
 */
export class HeldBytes {
  private total = 0
  private readonly held = new Map<Holding, number>()

  constructor(private readonly bytesMax: number) {}

  /** Of all connections. */
  get bytes(): number {
    return this.total
  }

  /** So many bytes are held for this one now; 0 when it is done or gone. */
  set(holding: Holding, bytes: number): void {
    this.total += bytes - (this.held.get(holding) ?? 0)
    if (bytes === 0) this.held.delete(holding)
    else this.held.set(holding, bytes)
    while (this.total > this.bytesMax) this.dropLargest()
  }

  private dropLargest(): void {
    let largest: Holding | null = null
    let most = 0
    for (const [holding, bytes] of this.held)
      if (bytes > most) {
        largest = holding
        most = bytes
      }
    // First: dropping it says so as well.
    this.held.delete(largest!)
    this.total -= most
    largest!.drop()
  }
}
