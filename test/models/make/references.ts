/*
 * Computes what the networks must answer, by the frameworks that they come from. The answers of a workflow are those
 * of its own file with its models computed by home.py.
 *
 *   npm run build && npm run prepare-data -w @millrace/demo
 *   python3 -m venv venv && venv/bin/pip install -r test/models/make/requirements.txt
 *   PYTHON=venv/bin/python npx jiti test/models/make/references.ts [NAME...]
 */
import { loadVersion, readRepository, runOffline, type Engines } from '@millrace/workflow'
import { networks } from '../networks'
import { prepare, repository } from '../prepare'
import { writeReference } from '../reference'
import { jsonInputs, offlineAnswer } from '../rows'
import { Home } from './home'

async function make(): Promise<void> {
  prepare()
  const wanted = process.argv.slice(2)
  const { versions } = readRepository(repository)
  for (const network of networks) {
    if (wanted.length > 0 && !wanted.includes(network.name)) continue
    const home = new Home(process.env['PYTHON'] ?? 'python3')
    const folder = versions.find(({ name }) => name === network.name)!
    const loaded = await loadVersion(folder, { engines: home as unknown as Engines, store: null, warmMsMax: 0 })
    if (loaded.version === null) throw new Error(`${network.name}: ${loaded.description.reason}`)
    const rows = await network.rows()
    const answers = await runOffline(loaded.version, rows.map(jsonInputs), { batchRows: 1 })
    const path = writeReference(network, answers.map(offlineAnswer))
    console.log(`${path}: ${rows.length} rows`)
    home.end()
  }
}

void make()
