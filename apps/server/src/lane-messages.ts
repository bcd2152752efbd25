import type { RulesFile } from '@millrace/rules'
import type { VersionFolder } from '@millrace/workflow'
import type { Config } from './config'
import type { Standing } from './lane-version'
import type { LaneSnapshot } from './snapshot'

/** A version that lanes are to have. */
export interface Wanted {
  /** A number that no other version has or had: what lanes and their threads know it by. */
  readonly index: number
  readonly folder: VersionFolder
  /** What is odd about its folder, for people; null when nothing is. */
  readonly remark: string | null
  /** Why nobody loads it: rules in force may name it all the same. */
  readonly doomed: string | null
}

/** From the supervisor to a lane. */
export type ToLane =
  | {
      readonly kind: 'start'
      readonly lane: number
      readonly config: Config
      readonly rules: NumberedRules
      readonly versions: readonly Wanted[]
    }
  | { readonly kind: 'ask'; readonly id: number; readonly what: Question; readonly request?: unknown }
  | { readonly kind: 'drain' }

/**
 * `want` has the lane load versions and let go of all others; it does not wait for that. `prepare` compiles the rules that
 * come with it and refuses what this lane cannot serve; `map` puts what was prepared in force.
 */
export type Question =
  | 'glance'
  | 'snapshot'
  | 'scrape'
  | 'seats'
  | 'explain'
  | 'recent'
  | 'examples'
  | 'want'
  | 'prepare'
  | 'map'

export interface NumberedRules {
  readonly version: number
  readonly rules: RulesFile
}

/** From a lane to its supervisor. */
export type FromLane =
  | { readonly kind: 'ready'; readonly port: number }
  | { readonly kind: 'failed'; readonly message: string }
  /** A version became ready, failed, or is gone. */
  | { readonly kind: 'stands'; readonly standing: Standing }
  /** It drained: its last numbers, before it ends. */
  | { readonly kind: 'drained'; readonly snapshot: LaneSnapshot }
  | { readonly kind: 'answer'; readonly id: number; readonly value: unknown }
  /** `code` is the name of a refusal's code, or INTERNAL. */
  | { readonly kind: 'no'; readonly id: number; readonly code: string; readonly message: string }
