import { join } from 'node:path'

/** The demo's repository: `apps/demo/repository`. */
export const repositoryFolder = join(__dirname, '..', 'repository')
