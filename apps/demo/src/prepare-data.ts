import { createHash } from 'node:crypto'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { openLmdb } from '@millrace/facts'
import { datasetPath } from './dataset'
import { writeFacts } from './facts'
import { readFilms, valuesOf } from './films'
import { makeProfiles } from './profiles'
import { repositoryFolder } from './repository-folder'

const facts = join(repositoryFolder, 'facts')
/** Written last: without it, or with another content, the facts are made again. */
const stamp = join(facts, 'made-from.txt')
const accounts = 1000
const seed = 20260101

/** Of the data and of the code that turns it into facts. */
function fingerprint(): string {
  const code = ['prepare-data', 'films', 'profiles', 'random', 'facts'].map((name) => join(__dirname, `${name}.js`))
  const hash = createHash('sha256')
  for (const file of [datasetPath('movies.json'), ...code]) hash.update(readFileSync(file))
  return hash.digest('hex')
}

async function prepare(): Promise<void> {
  const wanted = fingerprint()
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return
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
