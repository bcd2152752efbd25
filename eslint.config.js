// Rules that find bugs; how code looks is prettier's business.
const js = require('@eslint/js')
const tseslint = require('typescript-eslint')

/** What Node gives to every CommonJS file beside the language. */
const nodeGlobals = Object.fromEntries(
  [
    ...['__dirname', '__filename', 'exports', 'module', 'require', 'process', 'Buffer', 'console', 'global'],
    ...['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'setImmediate', 'clearImmediate'],
    ...['AbortController', 'AbortSignal', 'TextDecoder', 'TextEncoder', 'URL', 'URLSearchParams', 'fetch'],
    ...['performance', 'queueMicrotask', 'structuredClone', 'WebSocket'],
  ].map((name) => [name, 'readonly']),
)

module.exports = tseslint.config(
  {
    ignores: [
      '**/dist/',
      '**/node_modules/',
      '**/coverage/',
      '.nx/',
      'libs/wire/src/generated/',
      'apps/demo/repository/facts/',
    ],
  },
  js.configs.recommended,
  {
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      'array-callback-return': 'error',
      eqeqeq: 'error',
      'no-constructor-return': 'error',
      'no-self-compare': 'error',
      'no-template-curly-in-string': 'error',
      'no-unmodified-loop-condition': 'error',
      'no-unreachable-loop': 'error',
      'no-var': 'error',
      'prefer-const': 'error',
      // Messages carry the message of what they wrap.
      'preserve-caught-error': 'off',
    },
  },
  {
    files: ['**/*.{js,cjs}'],
    languageOptions: { sourceType: 'commonjs', globals: nodeGlobals },
  },
  {
    files: ['**/*.mjs'],
    languageOptions: { globals: nodeGlobals },
  },
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.recommendedTypeChecked],
    // One program for every file: sources, tests, tools. It reads the dist of sibling rooms, so build first.
    languageOptions: { parserOptions: { project: './tsconfig.test.json', tsconfigRootDir: __dirname } },
    rules: {
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      // A step or a store may answer at once or later; both may be awaited.
      '@typescript-eslint/await-thenable': 'off',
      // Taste: a needless `!` or `as` hides nothing, and `any` from a library that has no better types stays where it is.
      '@typescript-eslint/no-unnecessary-type-assertion': 'off',
      '@typescript-eslint/no-unsafe-return': 'off',
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/return-await': ['error', 'error-handling-correctness-only'],
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
    },
  },
  {
    files: ['**/*.test.ts', 'test/**/*.ts'],
    rules: {
      // Tests pass methods around, throw what nobody should throw and read answers whose type they assert.
      '@typescript-eslint/unbound-method': 'off',
      '@typescript-eslint/only-throw-error': 'off',
      '@typescript-eslint/no-base-to-string': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
    },
  },
)
