import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** The path of a file of the `vega-datasets` package, whose `exports` hide its data folder. */
export function datasetPath(file: string): string {
  return join(dirname(require.resolve('vega-datasets')), '..', 'data', file)
}

export function readDataset(file: string): unknown {
  return JSON.parse(readFileSync(datasetPath(file), 'utf8'))
}
