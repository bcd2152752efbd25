import type { Context } from '@millrace/base'
import { objectiveOf, type Route } from '@millrace/rules'
import { contextOf, overrideOf, textAt, type OverrideMessage, type RequestView } from '@millrace/wire'
import type { AllocationResult } from './allocator'
import type { Mapping } from './mapping'

/** Most requests that are remembered in a second. */
const perSecondMax = 1000

/** What of a request decided about it, and what it was decided to. */
export interface RecentRequest {
  readonly id: string
  /** Milliseconds since 1970. */
  readonly atMs: number
  readonly objective: string | null
  readonly subject: string | null
  readonly context: Context
  readonly override: OverrideMessage | null
  readonly rulesVersion: number
  /** Null for an objective that is not known, and for an override that is refused. */
  readonly decided: Pick<Route, 'workflow' | 'version' | 'rule' | 'cell'> | null
  /** How it came by the cell of another platform; empty where no rule asked for one. */
  readonly allocation: AllocationResult
}

/** Which requests are asked for: all that is given holds. */
export interface RecentQuery {
  readonly id?: string | undefined
  readonly subject?: string | undefined
  readonly objective?: string | undefined
}

/**
 * The last requests of a lane, for `millrace explain`, in memory alone. What is remembered costs some microseconds, so
 * of a crowd only the first of each moment are.
 */
export class RecentRequests {
  /** How many more are remembered until `refill`. */
  room: number
  private readonly kept: RecentRequest[] = []
  private next = 0
  private readonly roomMax: number

  /**
   * @param max how many are remembered; 0: none
   * @param refillMs how often `refill` is called
   */
  constructor(
    private readonly max: number,
    refillMs: number,
  ) {
    this.roomMax = Math.min(max, Math.ceil((perSecondMax * refillMs) / 1000))
    this.room = this.roomMax
  }

  refill(): void {
    this.room = this.roomMax
  }

  /** The request that the view holds, which was looked up just now. */
  add(view: RequestView, { table }: Mapping, route: number, atMs: number, allocation: AllocationResult): void {
    this.room--
    const { workflow, version, rule, cell } = table.routes[route] ?? {}
    this.kept[this.next] = {
      id: String((BigInt(view.idHi) << 32n) | BigInt(view.idLo)),
      atMs,
      objective:
        objectiveOf(table, view) ??
        (view.objectiveBegin === 0 ? null : textAt(view, view.objectiveBegin, view.objectiveLength)),
      subject: subjectOf(view),
      context: contextOf(view),
      override: overrideOf(view),
      rulesVersion: table.version,
      decided: workflow === undefined ? null : { workflow, version: version!, rule: rule!, cell: cell! },
      allocation,
    }
    this.next = (this.next + 1) % this.max
  }

  /** Newest first. */
  find({ id, subject, objective }: RecentQuery): RecentRequest[] {
    const { kept, next } = this
    return [...kept.slice(next), ...kept.slice(0, next)]
      .reverse()
      .filter(
        (one) =>
          (id === undefined || one.id === id) &&
          (subject === undefined || one.subject === subject) &&
          (objective === undefined || one.objective === objective),
      )
  }
}

function subjectOf({ subjectWords: { buffer, byteOffset }, subjectBegin, subjectLength }: RequestView): string | null {
  if (subjectLength === 0) return null
  return Buffer.from(buffer as ArrayBuffer, byteOffset + subjectBegin, subjectLength).toString('utf8')
}
