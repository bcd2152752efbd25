import { isAbsolute, join } from 'node:path'
import { columnsMax, nowUs } from '@millrace/base'
import { findModelFile, type Model, type ModelFile } from '@millrace/engine'
import type { FactStore } from '@millrace/facts'
import { checkFacts } from './check-facts'
import { batchRowsMax, checkModel } from './check-model'
import { isWorkflow, type Workflow } from './define'
import type { VersionDescription, VersionFolder, VersionState } from './description'
import type { Engines } from './engines'
import { checkGolden, readGolden } from './golden'
import { importDefault } from './import-file'
import { LoadedVersion } from './loaded'
import { messageOf } from './offline'
import { workflowOfModel } from './plain-model'
import { warm } from './warm'

export interface LoadContext {
  readonly engines: Engines
  /** Null when the repository has no facts. */
  readonly store: FactStore | null
  /** Why there is no store, where there should be one. */
  readonly storeReason?: string
  /** Time that warming may take; default 5,000. */
  readonly warmMsMax?: number
  /** Told of every state that the version enters. */
  readonly onState?: (state: VersionState) => void
}

/** What came of loading a folder: ready, or failed with a reason in the description. */
export type LoadResult =
  | { readonly version: LoadedVersion; readonly description: VersionDescription }
  | { readonly version: null; readonly description: VersionDescription }

/**
 * Loads one version: found -> loading -> validating (golden requests) -> warming -> ready, or failed. Never rejects:
 * what is wrong with one version is its own description's `reason`.
 */
export async function loadVersion(folder: VersionFolder, context: LoadContext): Promise<LoadResult> {
  const begun = nowUs()
  const enter = (state: VersionState): void => context.onState?.(state)
  let model: Model | null = null
  let golden: VersionDescription['golden'] = null
  try {
    enter('loading')
    const loaded = await loadFiles(folder, context.engines, (taken) => (model = taken))
    const { workflow } = loaded
    if (workflow.signature.inputs.length > columnsMax)
      throw new Error(`${workflow.signature.inputs.length} inputs; a request carries at most ${columnsMax} columns`)
    if (loaded.model !== null) checkModel(workflow, loaded.model)
    checkFacts(workflow, context.store, context.storeReason ?? 'the repository has no facts/ folder')
    const store = workflow.facts.length > 0 ? context.store : null
    const version = new LoadedVersion(folder, workflow, loaded.model, store, batchRowsMax(workflow, loaded.model))

    enter('validating')
    const goldens = readGolden(folder.path)
    if (goldens.length > 0) {
      const failures = await checkGolden(version, goldens)
      golden = { passed: goldens.length - failures.length, failed: failures.length }
      if (failures.length > 0)
        throw new Error(`${failures.length} of ${goldens.length} golden requests failed: ${failures[0]!}`)
    }

    enter('warming')
    await warm(version, goldens, context.warmMsMax ?? 5_000)
    enter('ready')
    const description: VersionDescription = {
      name: folder.name,
      version: folder.version,
      state: 'ready',
      reason: null,
      signature: version.signature,
      batchRowsMax: version.rowsMax,
      batchWaitUs: workflow.batchWaitUs,
      model:
        loaded.model === null || workflow.model === null
          ? null
          : {
              format: workflow.model.format,
              engine: loaded.engine,
              inputs: loaded.model.inputs,
              outputs: loaded.model.outputs,
            },
      facts: [...new Set(workflow.facts.map((plan) => plan.table))],
      golden,
      loadMs: (nowUs() - begun) / 1000,
    }
    return { version, description }
  } catch (error) {
    enter('failed')
    ;(model as Model | null)?.dispose()
    return { version: null, description: failedDescription(folder, messageOf(error), golden, (nowUs() - begun) / 1000) }
  }
}

function failedDescription(
  folder: VersionFolder,
  reason: string,
  golden: VersionDescription['golden'],
  loadMs: number,
): VersionDescription {
  return {
    name: folder.name,
    version: folder.version,
    state: 'failed',
    reason,
    signature: { inputs: [], outputs: [] },
    batchRowsMax: 0,
    batchWaitUs: 0,
    model: null,
    facts: [],
    golden,
    loadMs,
  }
}

interface Files {
  readonly workflow: Workflow
  readonly model: Model | null
  readonly engine: string
}

/** `keep` is handed the model as soon as it is loaded, so that whoever fails later can let it go. */
async function loadFiles(folder: VersionFolder, engines: Engines, keep: (model: Model) => void): Promise<Files> {
  const workflow = folder.workflowFile === null ? null : await importWorkflow(folder.workflowFile)
  const file = workflow === null ? findModelFile(folder.path) : declaredFile(folder, workflow)
  if (workflow === null && file === null)
    throw new Error(`${folder.path} has neither a workflow.ts or workflow.js nor a model file`)
  if (file === null) return { workflow: workflow!, model: null, engine: '' }
  const { model, engine } = await engines.load(file)
  keep(model)
  return { workflow: workflow ?? workflowOfModel(file, model), model, engine }
}

async function importWorkflow(path: string): Promise<Workflow> {
  let exported: unknown
  try {
    exported = await importDefault(path)
  } catch (error) {
    throw new Error(`${path}: ${messageOf(error)}`, { cause: error })
  }
  if (!isWorkflow(exported)) throw new Error(`${path}: its default export is not made by defineWorkflow`)
  return exported
}

function declaredFile(folder: VersionFolder, workflow: Workflow): ModelFile | null {
  if (workflow.model === null) return null
  const { format, path } = workflow.model
  return { format, path: isAbsolute(path) ? path : join(folder.path, path) }
}
