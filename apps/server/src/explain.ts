import { codeNames, type Context } from '@millrace/base'
import { explain, objectiveHash, type Decision, type NoCell, type Rules, type Step } from '@millrace/rules'
import type { RequestMessage } from '@millrace/wire'

/** Why a request is answered by what it is answered by. */
export interface ExplainedRequest {
  readonly objective: string | null
  readonly subject: string | null
  /** Null for an objective that is not served, and for an override that is refused. */
  readonly decision: (Omit<Decision, 'workflow'> & { readonly workflow: string; readonly version: number }) | null
  /** Why an override is refused; else null. */
  readonly refusal: { readonly code: string; readonly message: string } | null
  readonly rules: readonly Step[]
  /** What workflows can see of it: with what enrichments set. */
  readonly context: Context
}

/**
 * Explains by the rules' own words what the table decides for a request.
 *
 * @param cellOf what an allocator says; nobody is asked unless given
 */
export function explainRequest(
  rules: Rules,
  request: RequestMessage,
  nowMs = Date.now(),
  cellOf?: (experiment: string, subject: string) => string | NoCell,
): ExplainedRequest {
  const objective = objectiveOf(rules, request)
  const subject = request.subject === undefined ? null : String(request.subject)
  const { context = {}, override = null } = request
  const cells = cellOf === undefined ? {} : { cellOf: (experiment: string) => cellOf(experiment, subject!) }
  const explained =
    objective === null
      ? { decision: null, refusal: null, steps: [], context }
      : explain(rules, { objective, subject, context, override, nowMs, ...cells })
  const { decision, refusal, steps } = explained
  const refused = refusal === null ? null : { code: codeNames[refusal.code]!, message: refusal.message }
  const asked = { objective, subject, refusal: refused, rules: steps, context: explained.context }
  if (decision === null) return { ...asked, decision }
  const at = decision.workflow.lastIndexOf('@')
  const workflow = decision.workflow.slice(0, at)
  return { ...asked, decision: { ...decision, workflow, version: Number(decision.workflow.slice(at + 1)) } }
}

/** By its hash where the request has one, as on the road. */
function objectiveOf(rules: Rules, { objective, objectiveHash: hash }: RequestMessage): string | null {
  if (hash === undefined || hash === 0n) return objective ?? null
  const named = Object.keys(rules.objectives).find((name) => {
    const { lo, hi } = objectiveHash(name)
    return ((BigInt(hi) << 32n) | BigInt(lo)) === hash
  })
  return named ?? objective ?? null
}
