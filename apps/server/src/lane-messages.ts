import type { RulesFile } from '@millrace/rules'
import type { Config } from './config'

/** From the supervisor to a lane. */
export type ToLane =
  /** With `replaces`, names as `name@version`, it says `loaded` when they are ready and waits for `listen`; else it fails. */
  | {
      readonly kind: 'start'
      readonly lane: number
      readonly config: Config
      readonly rules: NumberedRules
      readonly replaces: readonly string[] | null
    }
  | { readonly kind: 'listen' }
  | { readonly kind: 'ask'; readonly id: number; readonly what: Question; readonly request?: unknown }
  | { readonly kind: 'drain' }

/**
 * `prepare` compiles the rules that come with it and refuses what this lane cannot serve; `map` puts what was prepared
 * in force.
 */
export type Question = 'snapshot' | 'scrape' | 'seats' | 'explain' | 'prepare' | 'map'

export interface NumberedRules {
  readonly version: number
  readonly rules: RulesFile
}

/** From a lane to its supervisor. */
export type FromLane =
  | { readonly kind: 'loaded' }
  | { readonly kind: 'ready'; readonly port: number }
  | { readonly kind: 'failed'; readonly message: string }
  | { readonly kind: 'answer'; readonly id: number; readonly value: unknown }
  /** `code` is the name of a refusal's code, or INTERNAL. */
  | { readonly kind: 'no'; readonly id: number; readonly code: string; readonly message: string }
