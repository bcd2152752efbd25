import {
  closeSync,
  existsSync,
  fstatSync,
  linkSync,
  mkdirSync,
  openSync,
  readSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { threadId } from 'node:worker_threads'
import { Code, Refusal } from '@millrace/base'
import { open } from 'lmdb'
import { keyEncoder, type LmdbKey } from './lmdb-key'

/** The part of lmdb that we use, with our keys: its own types know only the keys of its own encoder. */
export interface Environment {
  /** Valid until the next call. */
  getBinaryFast(key: LmdbKey): Buffer | undefined
  getRange(range: KeyRange): Iterable<{ readonly key: LmdbKey; readonly value: Buffer }>
  getKeys(range: KeyRange): Iterable<LmdbKey>
  getKeysCount(range: KeyRange): number
  putSync(key: LmdbKey, value: Buffer): void
  removeSync(key: LmdbKey): void
  transactionSync<T>(work: () => T): T
  resetReadTxn(): void
  close(): Promise<void>
}

export interface KeyRange {
  readonly start: LmdbKey
  readonly end: LmdbKey
  readonly limit?: number
}

/** Threads of all processes that may have the folder open at once; a place in a file of 64 bytes each. */
const readersMax = 1024
/** Of the lock file: the places, and a head that is smaller than eight of them. */
const lockBytes = 64 * (readersMax + 8)

/** Opens folder `path`; a writer creates it. Throws a Refusal that says what is wrong with it. */
export function openEnvironment(path: string, readOnly: boolean): Environment {
  const file = join(path, 'data.mdb')
  if (readOnly && !existsSync(file))
    throw new Refusal(Code.NOT_FOUND, `there are no facts in ${path}: run the feed that writes them first`)
  return explained(path, () => {
    if (!readOnly) mkdirSync(path, { recursive: true })
    if (existsSync(file)) checkFile(file, readOnly)
    reserveLock(path, readOnly)
    // One database, keys by our own encoder, values as they are. A folder, even where its name has a dot.
    const layout = { noSubdir: false, encoding: 'binary', keyEncoder, maxReaders: readersMax } as const
    return open({ path, readOnly, ...layout }) as unknown as Environment
  })
}

/**
 * The library makes a lock file with nothing in it, and its pages when readers come. On a disk that is full by then, the
 * first reader on a new page ends its process (SIGBUS). So the file is there in full before, in one step: who opens the
 * folder at the same time sees all of it or none.
 */
function reserveLock(path: string, readOnly: boolean): void {
  const lock = join(path, 'lock.mdb')
  if (existsSync(lock)) return
  const whole = `${lock}.${process.pid}.${threadId}`
  try {
    writeFileSync(whole, Buffer.alloc(lockBytes), { mode: 0o664 })
    linkSync(whole, lock)
  } catch (error) {
    // Another one was first; or the folder is not this reader's, and the library finds out what it may.
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST' && !readOnly) throw error
  } finally {
    rmSync(whole, { force: true })
  }
}

/** The library trusts what it maps: a file that is none of its own ends the process. */
function checkFile(file: string, readOnly: boolean): void {
  const fd = openSync(file, readOnly ? 'r' : 'r+')
  try {
    const head = Buffer.alloc(28)
    readSync(fd, head, 0, 28, 0)
    const isNew = !readOnly && fstatSync(fd).size === 0
    if (!isNew && head.readUInt32LE(24) !== 0xbeef_c0de)
      throw new Refusal(
        Code.DATA_LOSS,
        `${file} is no LMDB data file, or one that was never finished: remove its folder and load the facts again`,
      )
  } finally {
    closeSync(fd)
  }
}

/** Runs `work` and says in our words what the library, or the operating system under it, refuses. */
export function explained<T>(path: string, work: () => T): T {
  try {
    return work()
  } catch (error) {
    if (error instanceof Refusal) throw error
    const { code, message } = error as { code?: unknown; message: string }
    const [refusal, remedy] = causes[String(code)] ?? []
    if (refusal === undefined) throw error
    throw new Refusal(refusal, `the facts in ${path}: ${remedy} (${message})`)
  }
}

const full = 'they could not be written, nothing of it is there: is the disk full, or a limit of file sizes reached?'
const denied = 'this user may not open them; readers need to read data.mdb and to write lock.mdb, writers both'

const causes: Readonly<Record<string, readonly [Code, string]>> = {
  '5': [Code.RESOURCE_EXHAUSTED, full],
  '28': [Code.RESOURCE_EXHAUSTED, full],
  '-30792': [Code.RESOURCE_EXHAUSTED, 'they are larger than the address space they were given'],
  '-30790': [
    Code.RESOURCE_EXHAUSTED,
    `more threads read them than the lock file has places for (${readersMax} where it is new): close the readers, remove lock.mdb, start again`,
  ],
  '-30793': [Code.DATA_LOSS, 'data.mdb is no LMDB data file: remove the folder and load them again'],
  '-30796': [Code.DATA_LOSS, 'data.mdb is damaged: remove the folder and load them again'],
  '-30794': [Code.FAILED_PRECONDITION, 'they were written by another version of LMDB: load them again'],
  '13': [Code.PERMISSION_DENIED, denied],
  EACCES: [Code.PERMISSION_DENIED, denied],
  EPERM: [Code.PERMISSION_DENIED, denied],
  '20': [Code.INVALID_ARGUMENT, 'that is not a folder'],
  ENOTDIR: [Code.INVALID_ARGUMENT, 'that is not a folder'],
  EEXIST: [Code.INVALID_ARGUMENT, 'that is not a folder'],
  ENOENT: [Code.INVALID_ARGUMENT, 'the folder cannot be made'],
  EROFS: [Code.FAILED_PRECONDITION, 'the file system is read only'],
  ENOSPC: [Code.RESOURCE_EXHAUSTED, full],
}
