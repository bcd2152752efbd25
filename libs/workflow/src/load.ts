import { dirname, isAbsolute, join } from 'node:path'
import { columnsMax, nowUs } from '@millrace/base'
import { findModelFile, type ModelFile, type ModelFormat } from '@millrace/engine'
import type { FactStore } from '@millrace/facts'
import { checkFacts } from './check-facts'
import { batchRowsMax, checkModels } from './check-model'
import { isWorkflow, theModel, type Workflow } from './define'
import type { VersionDescription, VersionFolder, VersionState } from './description'
import type { Engines } from './engines'
import { checkGolden, readGolden } from './golden'
import { importDefault } from './import-file'
import { LoadedVersion, type LoadedModel } from './loaded'
import { messageOf, placeOf } from './message-of'
import { workflowOfModel } from './plain-model'
import { atOnce, type Step } from './step'
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
  /** Who serves meanwhile lets batches run between the steps; one after the other unless said. */
  readonly step?: Step
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
  const step = context.step ?? atOnce
  const models: LoadedModel[] = []
  let golden: VersionDescription['golden'] = null
  try {
    enter('loading')
    const workflow = await loadFiles(folder, context.engines, models, step)
    if (workflow.signature.inputs.length > columnsMax)
      throw new Error(`${workflow.signature.inputs.length} inputs; a request carries at most ${columnsMax} columns`)
    checkModels(workflow, models)
    checkFacts(workflow, context.store, context.storeReason ?? 'the repository has no facts/ folder')
    const store = workflow.facts.length > 0 ? context.store : null
    const version = new LoadedVersion(
      folder,
      workflow,
      models,
      store,
      batchRowsMax(workflow, models),
      context.engines.device,
    )

    enter('validating')
    const goldens = readGolden(folder.path)
    if (goldens.length > 0) {
      const failures = await checkGolden(version, goldens, step)
      golden = { passed: goldens.length - failures.length, failed: failures.length }
      if (failures.length > 0)
        throw new Error(`${failures.length} of ${goldens.length} golden requests failed: ${failures[0]!}`)
    }

    enter('warming')
    const warmed = await warm(version, goldens, context.warmMsMax ?? 5_000, step)
    enter('ready')
    const description: VersionDescription = {
      name: folder.name,
      version: folder.version,
      state: 'ready',
      reason: null,
      signature: version.signature,
      batchRowsMax: version.rowsMax,
      batchWaitUs: workflow.batchWaitUs,
      models: models.map(({ name, format, engine, model }) => ({
        name,
        format,
        engine,
        inputs: model.inputs,
        outputs: model.outputs,
      })),
      facts: [...new Set(workflow.facts.map((plan) => plan.table))],
      golden,
      warmed,
      loadMs: (nowUs() - begun) / 1000,
    }
    return { version, description }
  } catch (error) {
    enter('failed')
    await step(() => Promise.resolve(models.forEach(({ model }) => model.dispose())))
    const empty = emptyDescription(folder, 'failed', messageOf(error))
    return { version: null, description: { ...empty, golden, loadMs: (nowUs() - begun) / 1000 } }
  }
}

/** Of a version that failed, or that nobody loaded (`found`). */
export function emptyDescription(folder: VersionFolder, state: 'failed' | 'found', reason: string): VersionDescription {
  return {
    name: folder.name,
    version: folder.version,
    state,
    reason,
    signature: { inputs: [], outputs: [] },
    batchRowsMax: 0,
    batchWaitUs: 0,
    models: [],
    facts: [],
    golden: null,
    warmed: false,
    loadMs: 0,
  }
}

/** Models go to `models` as soon as they are loaded, so that whoever fails later can let them go. */
async function loadFiles(
  folder: VersionFolder,
  engines: Engines,
  models: LoadedModel[],
  step: Step,
): Promise<Workflow> {
  const load = async (name: string, file: ModelFile): Promise<LoadedModel> => {
    const loaded = { name, format: file.format, ...(await step(() => engines.load(file))) }
    models.push(loaded)
    return loaded
  }
  if (folder.workflowFile === null) {
    const file = findModelFile(folder.path)
    if (file === null) throw new Error(`${folder.path} has neither a workflow.ts or workflow.js nor a model file`)
    return workflowOfModel(file, (await load(theModel, file)).model)
  }
  const { workflowFile } = folder
  const workflow = await step(() => importWorkflow(workflowFile))
  for (const [name, { format, path, signature }] of Object.entries(workflow.models))
    try {
      await load(name, {
        format,
        path: isAbsolute(path) ? path : join(folder.path, path),
        ...(signature !== undefined && { signature }),
      })
    } catch (error) {
      if (workflow.score === null) throw error
      throw new Error(`models.${name}: ${messageOf(error)}`, { cause: error })
    }
  return workflow
}

/** Formats of the models that a version is made of. Rejects, like the version's load, with what is wrong. */
export async function modelFormats(folder: VersionFolder): Promise<ModelFormat[]> {
  if (folder.workflowFile === null) return [findModelFile(folder.path)].flatMap((file) => file?.format ?? [])
  const { models } = await importWorkflow(folder.workflowFile)
  return Object.values(models).map(({ format }) => format)
}

async function importWorkflow(path: string): Promise<Workflow> {
  let exported: unknown
  try {
    exported = await importDefault(path)
  } catch (error) {
    const place = placeOf(error, dirname(path))
    throw new Error(`${place === '' ? path : place}: ${messageOf(error)}`, { cause: error })
  }
  if (!isWorkflow(exported)) throw new Error(`${path}: its default export is not made by defineWorkflow`)
  return exported
}
