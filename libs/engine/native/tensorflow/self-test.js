'use strict'
/*
 * node self-test.js FOLDER TRIAL: loads what was installed in FOLDER, runs an operation, scores a network; then has the
 * script TRIAL score through the engine, which MILLRACE_ENGINES_FOLDER leads to the same folder. Throws where any of it
 * comes out otherwise.
 */
const assert = require('node:assert')
const { execFileSync } = require('node:child_process')
const { join } = require('node:path')
const util = require('node:util')

const [, , folder, trial] = process.argv

// Node 23 took it away; tfjs-node calls it.
util.isNullOrUndefined ??= (value) => value === null || value === undefined

function tryBinding() {
  const tf = require(join(folder, 'node_modules/@tensorflow/tfjs-node'))
  assert.equal(tf.getBackend(), 'tensorflow')
  const product = tf.matMul(tf.tensor2d([1, 2, 3, 4], [2, 2]), tf.tensor2d([5, 6, 7, 8], [2, 2]))
  assert.deepEqual([...product.dataSync()], [19, 22, 43, 50])
  const network = tf.sequential()
  network.add(tf.layers.dense({ units: 2, inputShape: [2], activation: 'relu' }))
  network.setWeights([tf.tensor2d([1, -1, 1, 1], [2, 2]), tf.tensor1d([0.5, 0])])
  const scores = network.predict(tf.tensor2d([1, 2, 3, 1], [2, 2])).dataSync()
  assert.deepEqual([...scores], [3.5, 1, 4.5, 0])
}

function tryEngine() {
  const trials = JSON.parse(execFileSync(process.execPath, [trial, 'tensorflow'], { encoding: 'utf8' }))
  const cpu = trials.find(({ device }) => device === 'cpu')
  assert.ok(cpu.works, cpu.reason)
}

tryBinding()
tryEngine()
