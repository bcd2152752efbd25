import { explain, objectiveHash, type Decision, type Rules, type Step } from '@millrace/rules'
import type { RequestMessage } from '@millrace/wire'

/** Why a request is answered by what it is answered by. */
export interface ExplainedRequest {
  readonly objective: string | null
  readonly subject: string | null
  /** Null for an objective that is not served. */
  readonly decision: (Omit<Decision, 'workflow'> & { readonly workflow: string; readonly version: number }) | null
  readonly rules: readonly Step[]
}

/** Explains by the rules' own words what the table decides for a request. */
export function explainRequest(rules: Rules, request: RequestMessage, nowMs = Date.now()): ExplainedRequest {
  const objective = objectiveOf(rules, request)
  const subject = request.subject === undefined ? null : String(request.subject)
  const { decision, steps } =
    objective === null
      ? { decision: null, steps: [] }
      : explain(rules, { objective, subject, context: request.context ?? {}, nowMs })
  const asked = { objective, subject, rules: steps }
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
