/*
 * Makes the model of workflow mlp-64, the network that the benches score: 64-128-64-1, ReLU between, sigmoid at the end, weights
 * by He's initialisation (normal, variance 2 / inputs) from a fixed seed. The file is committed; run this to make
 * it again, it comes out the same:
 *
 *   npx tsc -b libs/engine && npx jiti bench/models/make.ts
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { mlpGraph, writeOnnx } from '@millrace/engine'
import { mlpLayers } from '../workloads/network'

const bytes = writeOnnx(mlpGraph({ input: 'features', output: 'score', layers: mlpLayers(64) }))
const path = join(__dirname, '../repository/workflows/mlp-64/1/model.onnx')
writeFileSync(path, bytes)
console.log(`${path}: ${bytes.length} bytes`)
