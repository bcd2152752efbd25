/** Something that is sent to a client, and ends with its connection. */
export interface Sending {
  /** Closes the connection; what was not read is let go. */
  drop(): void
}

/**
 * Bytes that clients were sent and have not taken, over all connections of a lane. Where they are too many, the
 * connection with most of them is closed, so that those who read are answered.
 */
export class Unread {
  private total = 0
  private readonly held = new Map<Sending, number>()

  constructor(private readonly bytesMax: number) {}

  /** Of all connections. */
  get bytes(): number {
    return this.total
  }

  /** So many bytes wait for this one now; 0 when it is done or gone. */
  set(sending: Sending, bytes: number): void {
    this.total += bytes - (this.held.get(sending) ?? 0)
    if (bytes === 0) this.held.delete(sending)
    else this.held.set(sending, bytes)
    while (this.total > this.bytesMax) this.dropLargest()
  }

  private dropLargest(): void {
    let largest: Sending | null = null
    let most = 0
    for (const [sending, bytes] of this.held)
      if (bytes > most) {
        largest = sending
        most = bytes
      }
    // First: dropping it says so as well.
    this.held.delete(largest!)
    this.total -= most
    largest!.drop()
  }
}
