import { fork, type ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import type { Config } from './config'
import { freePort } from './free-port'
import { laneEnvironment } from './lane-environment'

/** How V8 is told to run a lane. */
export const laneFlags = [
  // The young generation at its full size from the start, MiB: a lane's memory is then what it will be, not what grew.
  '--min-semi-space-size=16',
  // The road is many small functions; V8's own limit (920) stops inlining half way: 670 against 450 ns a request.
  '--max-inlined-bytecode-size-cumulative=6000',
]

/** What a supervisor has of the machine. */
export interface LaneProcesses {
  /** A port that nobody has; see `freePort`. */
  freePort(variable: string, host: string, port: number): Promise<number>
  fork(config: Config, lane: number): ChildProcess
}

export const laneProcesses: LaneProcesses = {
  freePort,
  fork: (config, lane) =>
    fork(join(__dirname, 'lane-process.js'), {
      // Not what this process was started with: `node -e` would run its script again.
      execArgv: laneFlags,
      env: { ...process.env, ...laneEnvironment(config, lane, process.env).set },
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    }),
}
