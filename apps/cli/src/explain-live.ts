import type { ExplainedRecent, ExplainedRequest, VersionStanding } from '@millrace/server'
import { askAdmin, type AdminOptions } from './ask-admin'

/** Explanations of a server that runs: of a request in the JSON twin, or of those that it remembers. */
export type LiveExplanation = ExplainedRequest & { readonly versions: readonly VersionStanding[] }

export async function explainLive(request: object, options: AdminOptions): Promise<LiveExplanation> {
  return (await askAdmin(options, 'POST', '/v1/explain', request)) as LiveExplanation
}

export async function explainRecent(recent: object, options: AdminOptions): Promise<readonly ExplainedRecent[]> {
  const { requests } = (await askAdmin(options, 'POST', '/v1/explain', { recent })) as { requests: ExplainedRecent[] }
  return requests
}

/** A row for each lane of each version. */
export function standingRows(versions: readonly VersionStanding[]): string[][] {
  return versions.flatMap(({ workflow, version, lanes }) =>
    lanes.map(({ lane, state, since, reason }) => [
      `${workflow}@${version}`,
      `lane ${lane}`,
      state,
      since,
      reason ?? '',
    ]),
  )
}
