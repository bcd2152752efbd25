import type { NumberedRules } from './lane-messages'
import type { Socket } from './transport'

/** The rules in force, told to sockets that asked for them: now, and at each change. */
export class RulesFeed {
  private readonly subscribers = new Set<Socket>()

  constructor(private rules: NumberedRules) {}

  subscribe(socket: Socket): void {
    for (const one of this.subscribers) if (one.closed) this.subscribers.delete(one)
    this.subscribers.add(socket)
    socket.replyText(this.text())
  }

  publish(rules: NumberedRules): void {
    this.rules = rules
    const text = this.text()
    for (const socket of this.subscribers) {
      if (socket.closed) this.subscribers.delete(socket)
      else socket.replyText(text)
    }
  }

  private text(): string {
    return JSON.stringify({ rules_version: this.rules.version, rules: this.rules.rules })
  }
}
