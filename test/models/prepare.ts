import { existsSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { makeRecommender } from './recommender'

export const repository = join(__dirname, 'repository')

/** Makes what git does not keep: the recommender's weights, and the way to the demo's sentence network. */
export function prepare(): void {
  makeRecommender()
  const link = join(repository, 'workflows/sentence-embedding')
  if (!existsSync(link)) symlinkSync('../../../../apps/demo/repository/workflows/sentence-embedding', link, 'junction')
}
