import type { Tensors, TensorSpec } from './engine'

/**
 * Throws when `inputs` are not what the model declares, naming the input: a missing or unknown name, another
 * dtype, another shape, or data that does not fill its shape. Runs once a batch: no allocation when all is well.
 */
export function checkInputs(specs: readonly TensorSpec[], inputs: Tensors): void {
  let given = 0
  for (const _ in inputs) given++
  for (let i = 0; i < specs.length; i++) {
    const spec = specs[i]!
    const tensor = inputs[spec.name]
    if (tensor === undefined) throw new Error(`input \`${spec.name}\` is missing; the model takes ${listSpecs(specs)}`)
    if (tensor.dtype !== spec.dtype)
      throw new Error(`input \`${spec.name}\` is ${tensor.dtype}, the model takes ${spec.dtype}`)
    const elements = fittingElements(spec.shape, tensor.shape)
    if (elements < 0)
      throw new Error(
        `input \`${spec.name}\` has shape ${describeShape(tensor.shape)}, the model takes ${describeShape(spec.shape)}`,
      )
    if (elements !== tensor.data.length)
      throw new Error(
        `input \`${spec.name}\` has ${tensor.data.length} values, its shape ${describeShape(tensor.shape)} ` +
          `needs ${elements}`,
      )
  }
  if (given !== specs.length)
    for (const name in inputs)
      if (!specs.some((spec) => spec.name === name))
        throw new Error(`the model has no input \`${name}\`; it takes ${listSpecs(specs)}`)
}

/** Elements of `shape` when it fits `declared`, else -1. */
function fittingElements(declared: readonly (number | null)[], shape: readonly number[]): number {
  if (declared.length !== shape.length) return -1
  let elements = 1
  for (let i = 0; i < shape.length; i++) {
    const n = shape[i]!
    const wanted = declared[i]
    if (wanted !== null && wanted !== n) return -1
    elements *= n
  }
  return elements
}

/** `f32[*,64]` */
export function describeSpec(spec: TensorSpec): string {
  return `${spec.dtype}${describeShape(spec.shape)}`
}

function listSpecs(specs: readonly TensorSpec[]): string {
  return specs.map((spec) => `\`${spec.name}\` ${describeSpec(spec)}`).join(', ')
}

function describeShape(shape: readonly (number | null)[]): string {
  return `[${shape.map((n) => n ?? '*').join(',')}]`
}
