import { Code, Refusal } from '@millrace/base'
import type { EngineKind, ModelFormat } from './engine'
import { onnxruntime } from './onnxruntime'
import { tensorflow } from './tensorflow'
import { tfjs } from './tfjs'

/** Every engine there is. Where several run a format, the earlier one is taken: native before embedded. */
export const engines: readonly EngineKind[] = [onnxruntime, tensorflow, tfjs]

/**
 * The engine that runs models of `format` here.
 *
 * @param preferred engine names in order of preference, and the only ones allowed; empty: all, in the list's order
 * @param device what it is to compute on
 * @throws Refusal INVALID_ARGUMENT when a preferred engine does not exist; FAILED_PRECONDITION when no allowed
 *   engine runs the format here, naming the ones that would and what they need
 */
export function engineFor(format: ModelFormat, preferred: readonly string[], device = 'cpu'): EngineKind {
  return chooseEngine(engines, format, preferred, device)
}

/** `engineFor` as a function of the list. */
export function chooseEngine(
  list: readonly EngineKind[],
  format: ModelFormat,
  preferred: readonly string[],
  device = 'cpu',
): EngineKind {
  const allowed = preferred.length === 0 ? list : preferred.map((name) => named(list, name))
  const runsFormat = allowed.filter((kind) => kind.formats.includes(format))
  const able = runsFormat.filter((kind) => devicesOf(kind).includes(kindOf(device)))
  const chosen = able.find((kind) => kind.probe().available)
  if (chosen !== undefined) return chosen
  if (able.length > 0)
    throw new Refusal(
      Code.FAILED_PRECONDITION,
      `no engine here runs ${format} models; ${able.map(whatIsMissing).join('; ')}`,
    )
  if (runsFormat.length > 0)
    throw new Refusal(
      Code.FAILED_PRECONDITION,
      `${format} models run on ${runsFormat.map((kind) => `${kind.name} (${devicesOf(kind).join(', ')})`).join(' or ')}, ` +
        `not on ${device}`,
    )
  const others = list.filter((kind) => kind.formats.includes(format)).map((kind) => kind.name)
  throw new Refusal(
    Code.FAILED_PRECONDITION,
    `${format} models run on ${others.join(' or ')}, but only ${allowed.map((kind) => kind.name).join(', ')} ` +
      `${allowed.length === 1 ? 'is' : 'are'} allowed: add ${others[0]} to the pool's engines`,
  )
}

/** `webgpu` of `webgpu:0`. */
function kindOf(device: string): string {
  return device.split(':')[0]!
}

function devicesOf(kind: EngineKind): readonly string[] {
  return kind.devices ?? ['cpu']
}

function named(list: readonly EngineKind[], name: string): EngineKind {
  const kind = list.find((other) => other.name === name)
  if (kind !== undefined) return kind
  const names = list.map((other) => other.name).join(', ')
  throw new Refusal(Code.INVALID_ARGUMENT, `there is no engine \`${name}\`; engines are ${names}`)
}

function whatIsMissing(kind: EngineKind): string {
  const found = kind.probe()
  return found.available ? kind.name : `${kind.name}: ${found.reason} (${found.install})`
}
