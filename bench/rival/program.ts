import { spawn, type ChildProcess } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type PostTarget, treeOf } from '@millrace/load'
import type { Rival, RivalModel, RivalServer } from './rival'

/** A rival that is a program of its own and takes POSTs. */
export interface ProgramRival extends Pick<Rival, 'name' | 'about' | 'missing'> {
  readonly post: PostTarget
  /** The body of a request: 64 floats. */
  body(features: Float32Array): Uint8Array
  /** The score in the body of a response. */
  scoreOf(body: Buffer): number
  versions(): readonly string[]
  program(place: Place): Program
}

/** Where it is to serve. */
export interface Place extends RivalModel {
  readonly port: number
}

/** Stays in the foreground: when it ends, all of it has. */
export interface Program {
  readonly command: string
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly cwd: string
}

/** Some load a framework first, or start a cluster. */
const startMsMax = 120_000
const stopMsMax = 10_000
const answerMsMax = 10_000
/** Characters of its log that are shown when it does not start. */
const logEnd = 2000

export function rivalOf(rival: ProgramRival): Rival {
  const { name, about } = rival
  return { name, about, missing: () => rival.missing(), start: (model) => start(rival, model) }
}

/** Numbers as JSON: nine digits say which float each is. */
export function numbersOf(features: Float32Array): number[] {
  return Array.from(features, (value) => Number(value.toPrecision(9)))
}

/** 64 numbers as a list in, one number out: what most of them take. */
export function jsonScore(path: string): Pick<ProgramRival, 'post' | 'body' | 'scoreOf'> {
  return {
    post: { path, contentType: 'application/json' },
    body: (features) => Buffer.from(JSON.stringify({ features: numbersOf(features) })),
    scoreOf: (body) => (JSON.parse(body.toString()) as { score: number }).score,
  }
}

async function start(rival: ProgramRival, model: RivalModel): Promise<RivalServer> {
  const port = await freePort()
  const { command, args, env, cwd } = rival.program({ ...model, port })
  const logFile = join(model.folder, 'log.txt')
  const log = openSync(logFile, 'w')
  const child = spawn(command, args, { cwd, env: { ...process.env, ...env }, stdio: ['ignore', log, log] })
  closeSync(log)
  const failed = new Promise<never>((_, reject) => child.once('error', reject))
  failed.catch(() => undefined)
  try {
    await Promise.race([failed, answers(rival, port, child)])
  } catch (error) {
    await stop(child)
    const end = readFileSync(logFile, 'utf8').slice(-logEnd)
    throw new Error(`${rival.name} did not start: ${(error as Error).message}\n${end}`, { cause: error })
  }
  return {
    pid: child.pid!,
    ports: [port],
    versions: rival.versions(),
    transport: 'http',
    post: rival.post,
    encode: (features) => rival.body(features),
    score: (features) => scoreOf(rival, port, features),
    stop: () => stop(child),
  }
}

async function answers(rival: ProgramRival, port: number, child: ChildProcess): Promise<void> {
  const end = performance.now() + startMsMax
  for (;;) {
    try {
      return void (await scoreOf(rival, port, new Float32Array(64)))
    } catch (error) {
      if (child.exitCode !== null || child.signalCode !== null)
        throw new Error(`it ended with ${child.exitCode ?? child.signalCode}`, { cause: error })
      if (performance.now() > end)
        throw new Error(`no answer in ${startMsMax / 1000} s: ${(error as Error).message}`, { cause: error })
      await sleep(200)
    }
  }
}

async function scoreOf(rival: ProgramRival, port: number, features: Float32Array): Promise<number> {
  const { post } = rival
  const response = await fetch(`http://127.0.0.1:${port}${post.path}`, {
    method: 'POST',
    headers: { 'content-type': post.contentType, ...post.headers },
    body: rival.body(features) as Uint8Array<ArrayBuffer>,
    signal: AbortSignal.timeout(answerMsMax),
  })
  const answer = Buffer.from(await response.arrayBuffer())
  if (response.status !== 200) throw new Error(`HTTP ${response.status}: ${answer.toString().slice(0, 300)}`)
  return rival.scoreOf(answer)
}

/** Asks it to end, and ends what is left of it: only what it started, by id. */
async function stop(child: ChildProcess): Promise<void> {
  if (child.pid === undefined) return
  const tree = treeOf(child.pid)
  const gone = new Promise<void>((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) resolve()
    else child.once('exit', () => resolve())
  })
  child.kill('SIGTERM')
  await Promise.race([gone, sleep(stopMsMax, undefined, { ref: false })])
  for (const pid of tree)
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // It has ended.
    }
  await gone
}

/** One that is free now. */
async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}
