import { emptyDescription, type VersionDescription, type VersionFolder } from '@millrace/workflow'
import type { Signature } from '@millrace/base'
import type { Chance } from '../chance'

/** What becomes of whoever loads a version as its folder is now. */
export type Outcome = 'ready' | 'failed' | 'ends the thread' | 'ends the process'

/** By folder. */
export type Plans = Map<string, { readonly outcome: Outcome; readonly ms: number }>

export const signature: Signature = {
  inputs: [{ name: 'x', dtype: 'u32', per: 'row', shape: [], ragged: false }],
  outputs: [{ name: 'y', dtype: 'u32', per: 'row', shape: [], ragged: false }],
}

export function randomPlan(chance: Chance, calm: boolean): { outcome: Outcome; ms: number } {
  const bad = calm ? (['failed'] as const) : (['failed', 'failed', 'ends the thread', 'ends the process'] as const)
  return { outcome: chance.holds(0.8) ? 'ready' : chance.pick(bad), ms: Math.round(chance.spread(1, 3000)) }
}

export function descriptionOf(folder: VersionFolder, ready: boolean): VersionDescription {
  if (!ready) return emptyDescription(folder, 'failed', 'it cannot be loaded')
  const { name, version } = folder
  const loaded = { signature, batchRowsMax: 16, batchWaitUs: 0, models: [], facts: [], golden: null }
  return { name, version, state: 'ready', reason: null, ...loaded, warmed: true, loadMs: 1 }
}
