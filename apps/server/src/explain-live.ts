import { z } from 'zod'
import { Code, Refusal } from '@millrace/base'
import { NoCell, parseRules } from '@millrace/rules'
import type { Desk } from './admin'
import { explainRequest, type ExplainedRequest } from './explain'
import type { WorkflowStanding } from './lifecycle'
import type { RecentRequest } from './recent-requests'

/** Requests that one answer explains at most. */
const explainedMax = 20

const text = z.string().max(10_000)
const recentQuery = z.strictObject({
  recent: z.strictObject({ id: text.optional(), subject: text.optional(), objective: text.optional() }),
})

/** How a version that an explanation names stands on each lane. */
export interface VersionStanding {
  readonly workflow: string
  readonly version: number
  readonly lanes: WorkflowStanding['lanes']
}

/** A request that came, explained by the rules and the time of then. */
export interface ExplainedRecent extends ExplainedRequest {
  readonly id: string
  /** ISO 8601. */
  readonly at: string
  readonly lane: number
  readonly rules_version: number
  readonly versions: readonly VersionStanding[]
}

/** Whether requests that came are asked for, which callers sent and not everybody may see. */
export function asksForRecent(json: unknown): boolean {
  return typeof json === 'object' && json !== null && 'recent' in json
}

/** Explains a request of the JSON twin, or with `{"recent": {"id", "subject", "objective"}}` those that came last. */
export async function explainLive(desk: Desk, json: unknown): Promise<unknown> {
  const { supervisor, lifecycle } = desk
  const standings = lifecycle.workflows(await supervisor.snapshots())
  if (asksForRecent(json)) return { requests: await explainRecent(desk, json, standings) }
  const explained = (await supervisor.askAny('explain', json)) as ExplainedRequest
  return { ...explained, versions: versionsOf(explained, standings) }
}

async function explainRecent(
  { supervisor, publisher }: Desk,
  json: unknown,
  standings: readonly WorkflowStanding[],
): Promise<ExplainedRecent[]> {
  const query = recentQuery.safeParse(json)
  if (!query.success)
    throw new Refusal(Code.INVALID_ARGUMENT, 'recent: give id, subject or objective, each a text, or {} for all')
  const found = (await supervisor.askAll('recent', query.data.recent)) as {
    lane: number
    requests: RecentRequest[]
  }[]
  const requests = found.flatMap(({ lane, requests }) => requests.map((one) => ({ lane, ...one })))
  if (requests.length === 0)
    throw new Refusal(
      Code.NOT_FOUND,
      `no such request is remembered; each lane remembers ${supervisor.config.explainRequests} (MILLRACE_EXPLAIN_REQUESTS)`,
    )
  return requests
    .sort((a, b) => b.atMs - a.atMs)
    .slice(0, explainedMax)
    .map(({ lane, id, atMs, rulesVersion, ...request }) => {
      const rules = parseRules(publisher.version(rulesVersion).rules)
      const { objective, subject, context, override } = request
      const asked = {
        ...(objective === null ? {} : { objective }),
        ...(subject === null ? {} : { subject }),
        context,
        ...(override === null ? {} : { override }),
      }
      const explained = explainRequest(rules, asked, atMs, (experiment) => cellOf(request, experiment))
      const versions = versionsOf(explained, standings)
      return { id, at: new Date(atMs).toISOString(), lane, rules_version: rulesVersion, ...explained, versions }
    })
}

/** What an allocator had said, as far as the decision tells. */
function cellOf(
  { decided, allocation }: Pick<RecentRequest, 'decided' | 'allocation'>,
  experiment: string,
): string | NoCell {
  if (allocation !== 'kept' && allocation !== 'asked') return NoCell.FAILED
  return decided?.rule === experiment ? decided.cell! : NoCell.NONE
}

/** The versions that an explanation names. */
function versionsOf({ rules }: ExplainedRequest, standings: readonly WorkflowStanding[]): VersionStanding[] {
  const named = new Set(rules.flatMap(({ workflow }) => workflow ?? []))
  return standings
    .filter(({ name, version }) => named.has(`${name}@${version}`))
    .map(({ name, version, lanes }) => ({ workflow: name, version, lanes }))
}
