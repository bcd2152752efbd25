import { fork, type ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import type { Answer, Ask, Job, Loaded, Measured, MeasureAsk, Profiled } from './protocol'

/** `engine-process.ts`, compiled: the same from `src` and from `dist`. */
const script = join(__dirname, '../../dist/bench-engines/engine-process.js')

/** An engine with the version in a process of its own: what it does to itself is its own business. */
export class Contestant {
  private constructor(
    readonly engine: string,
    private readonly process: ChildProcess,
  ) {}

  /** `env` is added to this process's own. Rejects with why the version does not run on the engine. */
  static async load(
    job: Job,
    env: NodeJS.ProcessEnv,
  ): Promise<{ readonly contestant: Contestant; readonly loaded: Loaded }> {
    const child = fork(script, { stdio: ['ignore', 'ignore', 'pipe', 'ipc'], env: { ...process.env, ...env } })
    const contestant = new Contestant(job.engine, child)
    try {
      return { contestant, loaded: (await contestant.ask({ ask: 'load', job })) as Loaded }
    } catch (error) {
      contestant.end()
      throw error
    }
  }

  async measure(ask: MeasureAsk): Promise<Measured> {
    return (await this.ask({ ask: 'measure', ...ask })) as Measured
  }

  async profile(ask: MeasureAsk): Promise<Profiled> {
    return (await this.ask({ ask: 'profile', ...ask })) as Profiled
  }

  end(): void {
    if (this.process.connected) this.process.disconnect()
  }

  private ask(ask: Ask): Promise<Answer> {
    return new Promise((resolve, reject) => {
      let errors = ''
      const onError = (piece: Buffer): void => void (errors = (errors + piece.toString()).slice(-1000))
      const onExit = (code: number | null, signal: string | null): void => {
        done()
        reject(new Error(`its process ended with ${signal ?? code}: ${errors.trim()}`))
      }
      const onMessage = (answer: Answer): void => {
        done()
        if ('failed' in answer) reject(new Error(answer.failed))
        else resolve(answer)
      }
      const done = (): void => {
        this.process.off('exit', onExit).off('message', onMessage)
        this.process.stderr!.off('data', onError)
      }
      this.process.stderr!.on('data', onError)
      this.process.once('exit', onExit).once('message', onMessage)
      this.process.send(ask)
    })
  }
}
