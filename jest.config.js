// Native TensorFlow would remark a dozen lines on every model; it reads this before any test begins.
process.env['TF_CPP_MIN_LOG_LEVEL'] ??= '2'

/** Tests stand beside their subject; sibling rooms resolve to what `npm run build` made of them. */
module.exports = {
  testEnvironment: '<rootDir>/test/support/environment.js',
  testMatch: ['**/*.test.ts'],
  testPathIgnorePatterns: ['/node_modules/', '/dist/', '/.nx/'],
  modulePathIgnorePatterns: ['<rootDir>/.nx/'],
  transform: { '^.+\\.ts$': ['@swc/jest', { jsc: { parser: { syntax: 'typescript' }, target: 'es2022' } }] },
  testTimeout: 60_000,
}
