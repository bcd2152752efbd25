import { createHash } from 'node:crypto'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { openLmdb } from '@millrace/facts'
import { datasetPath } from './dataset'
import { writeFacts } from './facts'
import { readFilms, valuesOf } from './films'
import { makeProfiles } from './profiles'
import { repositoryFolder } from './repository-folder'
import { sentenceModelFolder, sentenceModelPackage, writeSentenceModel } from './sentence-model'

/*
 * Makes what the repository needs and git does not keep: the facts, and the description of the sentence network.
 * Does nothing where both are current.
 */

const facts = join(repositoryFolder, 'facts')
/** Written last: without it, or with another content, everything is made again. */
const stamp = join(facts, 'made-from.txt')
const accounts = 1000
const seed = 20260101

/** Of the data, of where the network lies, and of the code that makes something of them. */
function fingerprint(): string {
  const model = require.resolve(`${sentenceModelPackage}/dist/model.json`)
  const code = ['prepare-data', 'films', 'profiles', 'facts', 'sentence-model']
  const hash = createHash('sha256').update(model)
  for (const file of [datasetPath('movies.json'), model, ...code.map((name) => join(__dirname, `${name}.js`))])
    hash.update(readFileSync(file))
  return hash.digest('hex')
}

function isCurrent(wanted: string): boolean {
  if (!existsSync(stamp) || !existsSync(join(sentenceModelFolder, 'model.json'))) return false
  return readFileSync(stamp, 'utf8') === wanted
}

async function prepare(): Promise<void> {
  const wanted = fingerprint()
  if (isCurrent(wanted)) return
  writeSentenceModel()
  // A server that has the old facts open keeps them until it is started again.
  rmSync(facts, { recursive: true, force: true })
  const films = readFilms()
  const genres = valuesOf(films, 'genre')
  const store = openLmdb(facts, { readOnly: false })
  try {
    await writeFacts(store, films, genres, makeProfiles(genres, accounts, seed))
  } finally {
    await store.close()
  }
  writeFileSync(stamp, wanted)
  console.log(`${facts}: ${films.length} titles, ${accounts} profiles (invented, seed ${seed})`)
}

void prepare()
