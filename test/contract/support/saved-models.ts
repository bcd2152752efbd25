import type { NodeDef, TensorSpec, WrittenGraph } from '@millrace/engine'
import type { Mlp } from './mlp'

/** A constant of floats. */
export function floats(name: string, shape: readonly number[], values: Float32Array): NodeDef {
  const tensor = {
    dtype: 'DT_FLOAT',
    tensorShape: { dim: shape.map((size) => ({ size })) },
    tensorContent: new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
  }
  return { name, op: 'Const', attr: { dtype: { type: 'DT_FLOAT' }, value: { tensor } } }
}

export function node(name: string, op: string, input: readonly string[], attr: NodeDef['attr'] = float): NodeDef {
  return { name, op, input, attr }
}

export const float = { T: { type: 'DT_FLOAT' } }

export function placeholder(name: string, type: string): NodeDef {
  return { name, op: 'Placeholder', attr: { dtype: { type } } }
}

/** A graph whose inputs and outputs are named like their nodes. */
export function graphOf(nodes: readonly NodeDef[], inputs: readonly Spec[], outputs: readonly Spec[]): WrittenGraph {
  const ports = (specs: readonly Spec[]) => specs.map((spec) => ({ ...spec, tensor: `${spec.name}:0` }))
  return { graph: { node: nodes }, inputs: ports(inputs), outputs: ports(outputs) }
}
type Spec = Omit<TensorSpec, 'shape'> & { readonly shape: TensorSpec['shape'] | null }

/** The MLP, `features` to `score`. */
export function mlpNodes(mlp: Mlp): WrittenGraph {
  let value = 'features'
  const nodes = mlp.layers.flatMap(({ weights, bias, activation }, i) => {
    const before = value
    value = i === mlp.layers.length - 1 ? 'score' : `a${i}`
    return [
      floats(`w${i}`, [weights.length / bias.length, bias.length], weights),
      floats(`b${i}`, [bias.length], bias),
      node(`m${i}`, 'MatMul', [before, `w${i}`]),
      node(`z${i}`, 'BiasAdd', [`m${i}`, `b${i}`]),
      node(value, activation === 'relu' ? 'Relu' : 'Sigmoid', [`z${i}`]),
    ]
  })
  return graphOf(
    [placeholder('features', 'DT_FLOAT'), ...nodes],
    [{ name: 'features', dtype: 'f32', shape: [null, mlp.width] }],
    [{ name: 'score', dtype: 'f32', shape: [null, mlp.layers.at(-1)!.bias.length] }],
  )
}
