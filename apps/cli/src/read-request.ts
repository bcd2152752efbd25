import { existsSync, readFileSync } from 'node:fs'
import { UsageError } from './output'

/** The JSON of a file, or of stdin for `-`. Throws a UsageError that names the file. */
export function readRequest(file: string): unknown {
  if (file !== '-' && !existsSync(file)) throw new UsageError(`there is no file ${file}`)
  try {
    return JSON.parse(readFileSync(file === '-' ? 0 : file, 'utf8'))
  } catch (error) {
    throw new UsageError(`${file}: ${(error as Error).message}`)
  }
}
